//! What a drafter is asked, and what it answers: [`Drafter`].

use mambabyte_core::{Candidates, Logits, Rng, SampleOptions};

use crate::engine::EngineError;

/// What is asked for one stream.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Bytes at most; 0: none.
    pub most: usize,
    /// The generator that the next byte of the text is chosen with; the byte after it with the next draw, and so on.
    pub rng: Rng,
}

/// How the bytes of the text are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Temperature and cuts.
    pub options: SampleOptions,
    /// Whether drafts must have the distributions that their bytes were drawn from.
    pub distributions: bool,
}

/// Proposed bytes of one stream.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// What may come next; empty: no idea.
    pub bytes: Vec<u8>,
    /// What each byte was drawn from; empty if nobody asked.
    pub distributions: Vec<Candidates>,
}

impl Draft {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.distributions.clear();
    }

    /// Adds a byte that no chance decided.
    pub fn push(&mut self, byte: u8, choice: &Choice) {
        self.bytes.push(byte);
        if choice.distributions {
            self.distributions.push(Candidates::only(byte));
        }
    }

    /// Adds the byte that a text with these logits would have; the byte.
    pub fn choose(&mut self, logits: &Logits, choice: &Choice, rng: &mut Rng) -> u8 {
        let byte = mambabyte_core::sample(logits, &choice.options, rng);
        self.bytes.push(byte);
        if choice.distributions {
            self.distributions.push(Candidates::new(logits, &choice.options));
        }
        byte
    }
}

/// Proposes the next bytes of some streams. It may be wrong, always: the text does not depend on it.
pub trait Drafter {
    /// Takes the next bytes of each stream: of the prompt, then all that is written. As many texts as streams.
    ///
    /// # Errors
    /// Those of an engine.
    fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError>;

    /// Proposes at most `asks[row].most` bytes for each row; as many drafts as rows, which are empty.
    ///
    /// # Errors
    /// Those of an engine.
    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError>;
}

impl<D: Drafter + ?Sized> Drafter for Box<D> {
    fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError> {
        (**self).read(text)
    }

    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        (**self).draft(asks, choice, drafts)
    }
}

/// Drafts nothing: every byte is a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Drafter for Nobody {
    fn read(&mut self, _: &[&[u8]]) -> Result<(), EngineError> {
        Ok(())
    }

    fn draft(&mut self, _: &[Ask], _: &Choice, _: &mut [Draft]) -> Result<(), EngineError> {
        Ok(())
    }
}
