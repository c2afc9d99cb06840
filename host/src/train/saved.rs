//! A run in a file: [`Trainer::save`] and [`Trainer::load`].

use mambabyte_core::{Dims, Norm, Rng};

use super::Carry;
use super::average::Average;
use super::data::{Corpus, Passage, Stream};
use super::optimizer::Optimizer;
use super::state_file::{Reader, StateFault, Writer};
use super::trainer::{Best, Good, HALVED, Settings, Trainer};
use crate::{Checkpoint, Model};

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
    pub fn save(&self, note: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(note);
        let weights = self.model.checkpoint();
        shape(&weights.dims).into_iter().for_each(|n| writer.number(n));
        writer.floats(&[weights.norm_eps]);
        let halved = u64::from(self.halved);
        [self.step, self.bytes, halved, self.worse, self.rng.state()].into_iter().for_each(|n| writer.number(n));
        write_checkpoint(&mut writer, weights);
        write_optimizer(&mut writer, &self.optimizer);
        write_average(&mut writer, &self.average);
        writer.number(u64::from(self.good.is_some()));
        if let Some(good) = &self.good {
            writer.number(good.step);
            write_checkpoint(&mut writer, &good.weights);
            write_optimizer(&mut writer, &good.optimizer);
            write_average(&mut writer, &good.average);
        }
        writer.number(u64::from(self.best.is_some()));
        if let Some(best) = &self.best {
            writer.number(best.step);
            writer.number(best.bits.to_bits());
            write_checkpoint(&mut writer, &best.weights);
        }
        for stream in &self.streams {
            let Passage { text, from, to, seed } = stream.passage;
            [text as u64, from as u64, to as u64, seed, stream.at as u64].into_iter().for_each(|n| writer.number(n));
            writer.floats(stream.carry.as_slice());
        }
        writer.finish()
    }

    /// The run that [`Trainer::save`] wrote: `reader` as [`state_file::open`](super::state_file::open) gives it,
    /// `weights` of the run's shape, `settings` and `corpus` as they were.
    ///
    /// # Errors
    /// [`StateFault::Content`] if it is of another run.
    pub fn load(
        mut reader: Reader<'_>,
        weights: Checkpoint,
        settings: Settings,
        corpus: &Corpus,
    ) -> Result<Self, StateFault> {
        let of_other = |_| StateFault::Content("it has other sizes than its note says");
        for expected in shape(&weights.dims) {
            if reader.number()? != expected {
                return Err(StateFault::Content("it is of a model of another shape"));
            }
        }
        let mut this = Self::new(weights, settings).map_err(of_other)?;
        let mut weights = this.model.checkpoint().clone();
        let mut eps = [0.0];
        reader.floats(&mut eps)?;
        weights.norm_eps = eps[0];
        this.average.weights.norm_eps = eps[0];
        this.step = reader.number()?;
        this.bytes = reader.number()?;
        this.halved = u32::try_from(reader.number()?).unwrap_or(HALVED);
        this.worse = reader.number()?;
        this.rng = Rng::new(reader.number()?);
        read_checkpoint(&mut reader, &mut weights)?;
        read_optimizer(&mut reader, &mut this.optimizer)?;
        read_average(&mut reader, &mut this.average)?;
        if reader.number()? != 0 {
            let mut good = Good {
                step: reader.number()?,
                weights: weights.clone(),
                optimizer: this.optimizer.clone(),
                average: this.average.clone(),
            };
            read_checkpoint(&mut reader, &mut good.weights)?;
            read_optimizer(&mut reader, &mut good.optimizer)?;
            read_average(&mut reader, &mut good.average)?;
            this.good = Some(good);
        }
        if reader.number()? != 0 {
            let (step, bits) = (reader.number()?, f64::from_bits(reader.number()?));
            let mut best = Best { step, bits, weights: weights.clone() };
            read_checkpoint(&mut reader, &mut best.weights)?;
            this.best = Some(best);
        }
        for stream in &mut this.streams {
            let passage =
                Passage { text: reader.size()?, from: reader.size()?, to: reader.size()?, seed: reader.number()? };
            let at = reader.size()?;
            let mut carry = Carry::zero(&weights);
            reader.floats(carry.as_mut_slice())?;
            let bytes = passage.bytes(corpus, &settings.augment).filter(|bytes| at <= bytes.len());
            let bytes = bytes.ok_or(StateFault::Content("its place in the texts is not in these texts"))?;
            *stream = Stream::at(passage, bytes, at, carry);
        }
        if reader.left() != 0 {
            return Err(StateFault::Content("it goes on after its end"));
        }
        this.model = Model::new(weights).map_err(of_other)?;
        Ok(this)
    }
}
