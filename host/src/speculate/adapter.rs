//! An adapter alone as a drafter: [`AdapterDrafter`].

use mambabyte_core::VOCAB;

use super::{Ask, Choice, Draft, Drafter};
use crate::adapt::{AnyAdapter, Preset};
use crate::engine::EngineError;

/// Drafts what an adapter without a net expects, which learns prompt and text. For text whose lines are alike.
#[derive(Debug)]
pub struct AdapterDrafter {
    /// For each stream, one that has read the text and one that runs ahead of it.
    streams: Vec<(AnyAdapter, AnyAdapter)>,
}

impl AdapterDrafter {
    /// For `n` streams.
    pub fn new(preset: Preset, n: usize) -> Self {
        let adapter = || AnyAdapter::new(preset, false);
        Self { streams: (0..n).map(|_| (adapter(), adapter())).collect() }
    }
}

impl Drafter for AdapterDrafter {
    fn read(&mut self, text: &[&[u8]]) -> Result<(), EngineError> {
        for ((adapter, _), text) in self.streams.iter_mut().zip(text) {
            text.iter().for_each(|&byte| _ = adapter.read(None, byte));
        }
        Ok(())
    }

    /// One copy of the adapter a draft.
    fn draft(&mut self, asks: &[Ask], choice: &Choice, drafts: &mut [Draft]) -> Result<(), EngineError> {
        let mut logits = [0; VOCAB];
        for (((adapter, ahead), ask), draft) in self.streams.iter_mut().zip(asks).zip(drafts) {
            if ask.most == 0 {
                continue;
            }
            ahead.copy_from(adapter);
            let mut rng = ask.rng;
            for _ in 0..ask.most {
                ahead.distribution(None, &mut logits);
                let byte = draft.choose(&logits, choice, &mut rng);
                ahead.read(None, byte);
            }
        }
        Ok(())
    }
}
