//! The built-in model with its memory, or none (`FW_MODEL=none`), behind the same functions.

#[cfg(net)]
use mambabyte_core::{Blob, Decoder};
use mambabyte_core::{Logits, State};
#[cfg(net)]
use static_cell::ConstStaticCell;

#[cfg(net)]
use crate::{DIMS, MODEL};

// Filled at compile time: what is filled at run time is on the stack first.
#[cfg(net)]
static STATE: ConstStaticCell<[i16; DIMS.state_len()]> = ConstStaticCell::new([0; DIMS.state_len()]);
#[cfg(net)]
static SCRATCH: ConstStaticCell<[i32; DIMS.scratch_len()]> = ConstStaticCell::new([0; DIMS.scratch_len()]);

/// The decoder of the built-in model.
#[cfg(net)]
pub type Model = Decoder<'static, &'static mut [i16], &'static mut [i32]>;

/// What reads a stream before the adapter does.
pub struct Net {
    /// The decoder.
    #[cfg(net)]
    pub decoder: Model,
    /// Nothing but a position.
    #[cfg(not(net))]
    state: State<&'static mut [i16]>,
}

impl Net {
    /// Bytes read.
    pub fn position(&self) -> u64 {
        self.state().position()
    }
}

#[cfg(net)]
impl Net {
    /// There is a model.
    pub const THERE: bool = true;

    /// The model at its zero state, once.
    ///
    /// # Panics
    /// The second time.
    pub fn take() -> Self {
        // Plain texts for what cannot happen: with the errors' own words the program would be 10 KB longer.
        let Ok(blob) = Blob::parse(MODEL) else { panic!("the built-in model is damaged") };
        let (state, scratch) = (STATE.take(), SCRATCH.take());
        let Ok(decoder) = Decoder::new(blob, &mut state[..], &mut scratch[..]) else { panic!("too little memory") };
        Self { decoder }
    }

    /// Runs the golden text and goes back to the zero state.
    ///
    /// # Panics
    /// If this machine computes something else.
    #[cfg(feature = "selftest")]
    pub fn check(&mut self) {
        crate::golden::check(&mut self.decoder);
    }

    /// Reads a byte: the logits of the next one.
    pub fn step(&mut self, byte: u8) -> Option<&Logits> {
        Some(self.decoder.step(byte))
    }

    /// Its state.
    pub fn state(&self) -> &State<&'static mut [i16]> {
        self.decoder.state()
    }

    /// The state was loaded already, position and all.
    pub fn resume(&mut self, _position: u64) {}

    /// Its name.
    pub fn name(&self) -> &str {
        self.decoder.blob().name()
    }

    /// Bits per byte above which a text is none that it knows, as `Detector::set_unknown_text` takes it.
    pub fn unknown_text(&self) -> u16 {
        self.decoder.blob().unknown_text()
    }

    /// Back to the beginning of a stream.
    #[cfg(feature = "snapshots")]
    pub fn reset(&mut self) {
        self.decoder.state_mut().reset();
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.decoder.blob().fingerprint()
    }
}

#[cfg(not(net))]
impl Net {
    /// There is no model.
    pub const THERE: bool = false;

    /// Before the first byte.
    pub fn take() -> Self {
        Self { state: State::without_model() }
    }

    /// There is nothing to check.
    #[cfg(feature = "selftest")]
    pub fn check(&mut self) {}

    /// Counts a byte; there are no logits.
    pub fn step(&mut self, _byte: u8) -> Option<&Logits> {
        self.state.count(1);
        None
    }

    /// A position.
    pub fn state(&self) -> &State<&'static mut [i16]> {
        &self.state
    }

    /// No model knows no text.
    pub fn unknown_text(&self) -> u16 {
        0
    }

    /// Back to the beginning of a stream.
    #[cfg(feature = "snapshots")]
    pub fn reset(&mut self) {
        self.state.reset();
    }

    /// Goes on at a position.
    pub fn resume(&mut self, position: u64) {
        self.state.reset();
        self.state.count(position);
    }

    /// The name of no model.
    pub fn name(&self) -> &str {
        "none"
    }

    /// Zeros.
    pub fn fingerprint(&self) -> [u8; 16] {
        [0; 16]
    }
}
