//! A run in a file: [`Trainer::save`] and [`Trainer::load`].

use mambabyte_core::{Dims, Norm, Rng};

use super::Carry;
use super::average::Average;
use super::data::{Corpus, Passage, Stream};
use super::machine::{Machine, Parts};
use super::optimizer::Optimizer;
use super::state_file::{Reader, StateFault, Writer};
use super::trainer::{Best, Good, HALVED, Settings, TrainError, Trainer};
use crate::Checkpoint;

/// Why a run does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// The file.
    #[error(transparent)]
    State(#[from] StateFault),
    /// The processor.
    #[error(transparent)]
    Train(#[from] TrainError),
}

fn write_parts(writer: &mut Writer, parts: &Parts) {
    write_checkpoint(writer, &parts.weights);
    write_optimizer(writer, &parts.optimizer);
    write_average(writer, &parts.average);
}

fn read_parts(reader: &mut Reader<'_>, parts: &mut Parts) -> Result<(), StateFault> {
    read_checkpoint(reader, &mut parts.weights)?;
    read_optimizer(reader, &mut parts.optimizer)?;
    read_average(reader, &mut parts.average)
}

fn write_checkpoint(writer: &mut Writer, weights: &Checkpoint) {
    weights.clone().tensors_mut().into_iter().for_each(|(.., values)| writer.floats(values));
}

fn write_optimizer(writer: &mut Writer, optimizer: &Optimizer) {
    writer.number(optimizer.steps);
    for moments in &optimizer.moments {
        writer.floats(&moments.first);
        writer.floats(&moments.second);
    }
}

fn write_average(writer: &mut Writer, average: &Average) {
    writer.number(average.steps);
    write_checkpoint(writer, &average.weights);
}

fn read_checkpoint(reader: &mut Reader<'_>, weights: &mut Checkpoint) -> Result<(), StateFault> {
    weights.tensors_mut().into_iter().try_for_each(|(.., values)| reader.floats(values))
}

fn read_optimizer(reader: &mut Reader<'_>, optimizer: &mut Optimizer) -> Result<(), StateFault> {
    optimizer.steps = reader.number()?;
    for moments in &mut optimizer.moments {
        reader.floats(&mut moments.first)?;
        reader.floats(&mut moments.second)?;
    }
    Ok(())
}

fn read_average(reader: &mut Reader<'_>, average: &mut Average) -> Result<(), StateFault> {
    average.steps = reader.number()?;
    read_checkpoint(reader, &mut average.weights)
}

/// The shape as numbers.
fn shape(dims: &Dims) -> [u64; 9] {
    let Dims { d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm, tied_head, tied_decays } = *dims;
    let sizes = [d_model, n_layer, d_inner, d_state, d_conv, dt_rank].map(|size| size as u64);
    let [a, b, c, d, e, f] = sizes;
    [a, b, c, d, e, f, u64::from(norm == Norm::Layer), u64::from(tied_head), u64::from(tied_decays)]
}

impl Trainer {
    /// All that decides how the run goes on, as a file; `note` is the caller's.
    ///
    /// # Errors
    /// Those of the processor.
    pub fn save(&self, note: &[u8]) -> Result<Vec<u8>, TrainError> {
        let mut writer = Writer::new(note);
        let parts = self.machine.parts()?;
        shape(&parts.weights.dims).into_iter().for_each(|n| writer.number(n));
        writer.floats(&[parts.weights.norm_eps]);
        let halved = u64::from(self.halved);
        [self.step, self.bytes, halved, self.worse, self.rng.state()].into_iter().for_each(|n| writer.number(n));
        write_parts(&mut writer, &parts);
        writer.number(u64::from(self.good.is_some()));
        if let Some(good) = &self.good {
            writer.number(good.step);
            write_parts(&mut writer, &good.parts);
        }
        writer.number(u64::from(self.best.is_some()));
        if let Some(best) = &self.best {
            writer.number(best.step);
            writer.number(best.bits.to_bits());
            write_checkpoint(&mut writer, &best.weights);
        }
        for (stream, carry) in self.streams.iter().zip(self.machine.carries()?) {
            let Passage { text, from, to, seed } = stream.passage;
            [text as u64, from as u64, to as u64, seed, stream.at as u64].into_iter().for_each(|n| writer.number(n));
            writer.floats(carry.as_slice());
        }
        Ok(writer.finish())
    }

    /// The run that [`Trainer::save`] wrote, on whichever processor `machine` makes of its parts: `reader` as
    /// [`state_file::open`](super::state_file::open) gives it, `weights` of the run's shape, `settings` and `corpus` as they
    /// were.
    ///
    /// # Errors
    /// [`ResumeError::State`] if it is of another run, [`ResumeError::Train`] of `machine`.
    pub fn load(
        mut reader: Reader<'_>,
        weights: Checkpoint,
        settings: Settings,
        corpus: &Corpus,
        machine: impl FnOnce(Parts) -> Result<Box<dyn Machine>, TrainError>,
    ) -> Result<Self, ResumeError> {
        let dims = weights.dims;
        for expected in shape(&dims) {
            if reader.number()? != expected {
                return Err(StateFault::Content("it is of a model of another shape").into());
            }
        }
        let mut parts = Self::begin(weights, &settings);
        let mut eps = [0.0];
        reader.floats(&mut eps)?;
        parts.weights.norm_eps = eps[0];
        parts.average.weights.norm_eps = eps[0];
        let [step, bytes] = [reader.number()?, reader.number()?];
        let halved = u32::try_from(reader.number()?).unwrap_or(HALVED);
        let worse = reader.number()?;
        let rng = Rng::new(reader.number()?);
        read_parts(&mut reader, &mut parts)?;
        let mut good = None;
        if reader.number()? != 0 {
            let step = reader.number()?;
            let mut parts = parts.clone();
            read_parts(&mut reader, &mut parts)?;
            good = Some(Good { step, parts });
        }
        let mut best = None;
        if reader.number()? != 0 {
            let (step, bits) = (reader.number()?, f64::from_bits(reader.number()?));
            let mut weights = parts.weights.clone();
            read_checkpoint(&mut reader, &mut weights)?;
            best = Some(Best { step, bits, weights });
        }
        let like = parts.weights.clone();
        let mut this = Self::on(machine(parts)?, &like, settings)?;
        let (mut streams, mut carries) = (Vec::with_capacity(settings.batch), Vec::with_capacity(settings.batch));
        for _ in 0..settings.batch {
            let passage =
                Passage { text: reader.size()?, from: reader.size()?, to: reader.size()?, seed: reader.number()? };
            let at = reader.size()?;
            let mut carry = Carry::zeros(this.machine.carry_len());
            reader.floats(carry.as_mut_slice())?;
            let text = passage.symbols(corpus, &settings.augment).filter(|text| at <= text.len());
            let text = text.ok_or(StateFault::Content("its place in the texts is not in these texts"))?;
            streams.push(Stream::at(passage, text, at));
            carries.push(carry);
        }
        if reader.left() != 0 {
            return Err(StateFault::Content("it goes on after its end").into());
        }
        this.machine.carry(carries)?;
        Ok(Self { streams, rng, step, bytes, halved, good, best, worse, ..this })
    }
}
