//! One of the engines, chosen at run time: [`AnyEngine`].

use mambabyte_core::{Dims, Rng, SampleOptions, State};

use super::{Answer, Engine, EngineError, Load, Precision, Want};
use crate::cpu::{FloatEngine, FloatRows, IntEngine, IntRows};
#[cfg(feature = "cuda")]
use crate::cuda::GpuModel;

/// Any engine.
pub enum AnyEngine<'m> {
    /// A blob's integers on the CPU.
    Int(Box<IntEngine<'m>>),
    /// A checkpoint in f32 on the CPU.
    Float(Box<FloatEngine<'m>>),
    /// Either of them on a GPU.
    #[cfg(feature = "cuda")]
    Gpu(Box<GpuModel>),
}

/// The rows of an [`AnyEngine`].
pub enum AnyRows<'m> {
    /// Of [`AnyEngine::Int`].
    Int(Box<IntRows<'m>>),
    /// Of [`AnyEngine::Float`].
    Float(Box<FloatRows<'m>>),
    /// Of [`AnyEngine::Gpu`].
    #[cfg(feature = "cuda")]
    Gpu(Box<<GpuModel as Engine>::Rows>),
}

/// Calls a method of the engine.
macro_rules! each {
    ($any:expr, $engine:ident => $call:expr) => {
        match $any {
            AnyEngine::Int($engine) => $call,
            AnyEngine::Float($engine) => $call,
            #[cfg(feature = "cuda")]
            AnyEngine::Gpu($engine) => $call,
        }
    };
}

/// Calls a method of the engine with the rows that are its own.
macro_rules! with_rows {
    ($any:expr, $rows:expr, ($engine:ident, $own:ident) => $call:expr) => {
        match ($any, $rows) {
            (AnyEngine::Int($engine), AnyRows::Int($own)) => $call,
            (AnyEngine::Float($engine), AnyRows::Float($own)) => $call,
            #[cfg(feature = "cuda")]
            (AnyEngine::Gpu($engine), AnyRows::Gpu($own)) => $call,
            _ => Err(EngineError::ForeignRows),
        }
    };
}

/// The same with two sets of rows.
macro_rules! with_both {
    ($any:expr, $rows:expr, $others:expr, ($engine:ident, $own:ident, $other:ident) => $call:expr) => {
        match ($any, $rows, $others) {
            (AnyEngine::Int($engine), AnyRows::Int($own), AnyRows::Int($other)) => $call,
            (AnyEngine::Float($engine), AnyRows::Float($own), AnyRows::Float($other)) => $call,
            #[cfg(feature = "cuda")]
            (AnyEngine::Gpu($engine), AnyRows::Gpu($own), AnyRows::Gpu($other)) => $call,
            _ => Err(EngineError::ForeignRows),
        }
    };
}

impl<'m> From<IntEngine<'m>> for AnyEngine<'m> {
    fn from(engine: IntEngine<'m>) -> Self {
        Self::Int(Box::new(engine))
    }
}

impl<'m> From<FloatEngine<'m>> for AnyEngine<'m> {
    fn from(engine: FloatEngine<'m>) -> Self {
        Self::Float(Box::new(engine))
    }
}

#[cfg(feature = "cuda")]
impl From<GpuModel> for AnyEngine<'_> {
    fn from(engine: GpuModel) -> Self {
        Self::Gpu(Box::new(engine))
    }
}

impl AnyEngine<'_> {
    /// Whether it computes on a GPU.
    pub const fn is_gpu(&self) -> bool {
        match self {
            Self::Int(_) | Self::Float(_) => false,
            #[cfg(feature = "cuda")]
            Self::Gpu(_) => true,
        }
    }
}

impl<'m> Engine for AnyEngine<'m> {
    type Rows = AnyRows<'m>;

    fn dims(&self) -> &Dims {
        each!(self, engine => engine.dims())
    }

    fn precision(&self) -> Precision {
        each!(self, engine => engine.precision())
    }

    fn unknown_text(&self) -> u16 {
        each!(self, engine => engine.unknown_text())
    }

    fn full_load(&self) -> Load {
        each!(self, engine => engine.full_load())
    }

    fn rows(&self, n: usize) -> Result<AnyRows<'m>, EngineError> {
        Ok(match self {
            Self::Int(engine) => AnyRows::Int(Box::new(engine.rows(n)?)),
            Self::Float(engine) => AnyRows::Float(Box::new(engine.rows(n)?)),
            #[cfg(feature = "cuda")]
            Self::Gpu(engine) => AnyRows::Gpu(Box::new(engine.rows(n)?)),
        })
    }

    fn positions<'r>(&self, rows: &'r AnyRows<'m>) -> &'r [u64] {
        let positions = with_rows!(self, rows, (engine, own) => Ok(engine.positions(own)));
        // Rows of another engine have no positions in this one.
        positions.unwrap_or(&[])
    }

    fn read_into(
        &self,
        rows: &mut AnyRows<'m>,
        text: &[&[u8]],
        want: Want<'_>,
        answer: &mut Answer,
    ) -> Result<(), EngineError> {
        with_rows!(self, rows, (engine, own) => engine.read_into(own, text, want, answer))
    }

    fn fork(&self, rows: &mut AnyRows<'m>, from: usize, to: usize) -> Result<(), EngineError> {
        with_rows!(self, rows, (engine, own) => engine.fork(own, from, to))
    }

    fn copy(&self, source: &mut AnyRows<'m>, rows: &mut AnyRows<'m>, which: &[usize]) -> Result<(), EngineError> {
        with_both!(self, source, rows, (engine, source, rows) => engine.copy(source, rows, which))
    }

    fn reset(&self, rows: &mut AnyRows<'m>, row: usize) -> Result<(), EngineError> {
        with_rows!(self, rows, (engine, own) => engine.reset(own, row))
    }

    fn state(&self, rows: &mut AnyRows<'m>, row: usize) -> Result<State<Vec<i16>>, EngineError> {
        with_rows!(self, rows, (engine, own) => engine.state(own, row))
    }

    fn set_state(&self, rows: &mut AnyRows<'m>, row: usize, state: &State<Vec<i16>>) -> Result<(), EngineError> {
        with_rows!(self, rows, (engine, own) => engine.set_state(own, row, state))
    }

    fn draft(&self, rows: &mut AnyRows<'m>, drafts: &[&[u8]], answer: &mut Answer) -> Result<(), EngineError> {
        with_rows!(self, rows, (engine, own) => engine.draft(own, drafts, answer))
    }

    fn accept(&self, rows: &mut AnyRows<'m>, counts: &[usize]) -> Result<(), EngineError> {
        with_rows!(self, rows, (engine, own) => engine.accept(own, counts))
    }

    fn generate(
        &self,
        rows: &mut AnyRows<'m>,
        last: &mut [u8],
        rngs: &mut [Rng],
        options: &SampleOptions,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        with_rows!(self, rows, (engine, own) => engine.generate(own, last, rngs, options, count))
    }

    fn propose(
        &self,
        rows: &mut AnyRows<'m>,
        ahead: &mut AnyRows<'m>,
        from: (&[u8], &[Rng]),
        options: &SampleOptions,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        with_both!(self, rows, ahead, (engine, rows, ahead) => engine.propose(rows, ahead, from, options, count))
    }

    fn follow(&self, rows: &mut AnyRows<'m>, ahead: &mut AnyRows<'m>, text: &[&[u8]]) -> Result<(), EngineError> {
        with_both!(self, rows, ahead, (engine, rows, ahead) => engine.follow(rows, ahead, text))
    }
}
