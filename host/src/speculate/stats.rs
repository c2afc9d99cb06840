//! What speculation did, and where its time went: [`Stats`].

use std::ops::AddAssign;
use std::time::Duration;

/// Counts and times of all streams since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes written.
    pub written: u64,
    /// Rounds, counted for each stream that took part.
    pub rounds: u64,
    /// Bytes that were drafted.
    pub drafted: u64,
    /// Drafted bytes that were written.
    pub accepted: u64,
    /// Drafted bytes that were looked at: those accepted, and the first that was not.
    pub judged: u64,
    /// What the written bytes cost under the model, adapter included, bits in Q16; 0 unless it is measured
    /// ([`Speculation::measuring`](super::Speculation::measuring)).
    pub bits: u64,
    /// Time of the drafter, with its reading of what was written.
    pub draft: Duration,
    /// Time of the engine for blocks and steps.
    pub verify: Duration,
    /// Time of choosing bytes, and of adapters.
    pub choose: Duration,
    /// Time of the engine for going to the last accepted byte.
    pub replay: Duration,
}

impl Stats {
    /// Bytes that a round wrote, on average.
    pub fn bytes_a_round(&self) -> f64 {
        self.written as f64 / self.rounds.max(1) as f64
    }

    /// The share of judged bytes that were accepted: what the chance of a drafted byte is when all before it were right.
    pub fn acceptance(&self) -> f64 {
        self.accepted as f64 / self.judged.max(1) as f64
    }

    /// Bits per byte of what was written, under the model without temperature and cuts.
    pub fn bits_per_byte(&self) -> f64 {
        self.bits as f64 / 65_536.0 / self.written.max(1) as f64
    }

    /// All time.
    pub fn time(&self) -> Duration {
        self.draft + self.verify + self.choose + self.replay
    }
}

/// What happened in other streams, or before.
impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        let Self { written, rounds, drafted, accepted, judged, bits, draft, verify, choose, replay } = other;
        self.written += written;
        self.rounds += rounds;
        self.drafted += drafted;
        self.accepted += accepted;
        self.judged += judged;
        self.bits += bits;
        self.draft += draft;
        self.verify += verify;
        self.choose += choose;
        self.replay += replay;
    }
}
