//! The memory of an adapter: one type for each preset, owned by the caller.
//!
//! A preset is a design, not a size: which contexts there are, how many slots, which weights are chosen by what. The
//! code of an adapter is compiled for each preset that a program uses, so a chip carries one.

use super::design::{Context, Correction, Design, RowBy};
use super::said::{Found, Said, Set};
use super::stream::{Number, Pending, Stream};

/// The tables of a preset. They are zero before [`Adapter::new`](super::Adapter::new) starts them.
///
/// Sealed: presets are what the crate defines.
pub trait Memory: private::Sealed + Sized {
    /// What the code is compiled for.
    const DESIGN: Design;
    /// Start values, without a net and with one: see `start.rs`.
    #[doc(hidden)]
    const LEARNED: &'static [u8];
    /// All zero: for `static` memory.
    const ZERO: Self;

    /// A number for each input of the mixer.
    #[doc(hidden)]
    type Inputs: AsRef<[i16]> + AsMut<[i16]>;
    /// What each weight set says.
    #[doc(hidden)]
    type Sets: AsRef<[Set]> + AsMut<[Set]>;
    /// Where each bit history is.
    #[doc(hidden)]
    type Histories: AsRef<[Found]> + AsMut<[Found]>;

    /// Nothing was said.
    #[doc(hidden)]
    const SILENT: SaidOf<Self>;

    #[doc(hidden)]
    fn parts(&mut self) -> Parts<'_>;
}

/// What is said of one bit with a preset.
#[doc(hidden)]
pub(crate) type SaidOf<M> = Said<<M as Memory>::Inputs, <M as Memory>::Sets, <M as Memory>::Histories>;

pub(super) mod private {
    /// Closes [`Memory`](super::Memory).
    pub trait Sealed {}
}

/// The tables as slices of the lengths that [`Design`] says.
#[doc(hidden)]
pub struct Parts<'m> {
    pub(crate) ring: &'m mut [u8],
    pub(crate) matches: &'m mut [u16],
    /// Predicted byte 8 | state 3 | check 5.
    pub(crate) slots: &'m mut [u16],
    /// What came instead of the predicted byte.
    pub(crate) second: &'m mut [u8],
    pub(crate) run_confidence: &'m mut [u16],
    pub(crate) match_confidence: &'m mut [u16; 32],
    pub(crate) column_confidence: &'m mut [u16],
    pub(crate) anchors: &'m mut [u16],
    pub(crate) line_at: &'m mut [u16; 8],
    pub(crate) line_type: &'m mut [u8; 8],
    pub(crate) weights: &'m mut [i16],
    pub(crate) final_weights: &'m mut [i16],
    pub(crate) order0: &'m mut [u16; 256],
    pub(crate) sse: &'m mut [u16],
    pub(crate) bits: &'m mut [u16],
    pub(crate) bit_confidence: &'m mut [u16],
    pub(crate) numbers: &'m mut [Number],
    pub(crate) number_confidence: &'m mut [u16],
    pub(crate) stream: &'m mut Stream,
    pub(crate) pending: &'m mut Pending,
}

macro_rules! preset {
    ($(#[$doc:meta])* $name:ident, $start:literal, $design:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            ring: [u8; Self::D.ring],
            matches: [u16; Self::D.matches],
            slots: [u16; Self::D.slots],
            second: [u8; if Self::D.two { Self::D.slots } else { 0 }],
            run_confidence: [u16; Self::D.runs.len() * Self::D.confidences()],
            match_confidence: [u16; 32],
            column_confidence: [u16; Self::D.columns],
            anchors: [u16; Self::D.anchors],
            line_at: [u16; 8],
            line_type: [u8; 8],
            weights: [i16; Self::D.rows() * Self::D.inputs()],
            final_weights: [i16; 12 * Self::D.sets.len()],
            order0: [u16; 256],
            sse: [u16; Self::D.sse.points()],
            bits: [u16; Self::D.bits],
            bit_confidence: [u16; Self::D.histories.len() * 128],
            numbers: [Number; Self::D.numbers],
            number_confidence: [u16; Self::D.number_confidences()],
            stream: Stream,
            pending: Pending,
        }

        impl $name {
            const D: Design = $design;
        }

        impl private::Sealed for $name {}

        impl Memory for $name {
            const DESIGN: Design = Self::D;
            const LEARNED: &'static [u8] = include_bytes!($start);
            type Inputs = [i16; Self::D.inputs()];
            type Sets = [Set; Self::D.sets.len()];
            type Histories = [Found; Self::D.histories.len()];
            const SILENT: SaidOf<Self> = Said::silent([0; _], [Set::NONE; _], [Found::NONE; _]);
            const ZERO: Self = Self {
                ring: [0; _],
                matches: [0; _],
                slots: [0; _],
                second: [0; _],
                run_confidence: [0; _],
                match_confidence: [0; _],
                column_confidence: [0; _],
                anchors: [0; _],
                line_at: [0; _],
                line_type: [0; _],
                weights: [0; _],
                final_weights: [0; _],
                order0: [0; _],
                sse: [0; _],
                bits: [0; _],
                bit_confidence: [0; _],
                numbers: [Number::NONE; _],
                number_confidence: [0; _],
                stream: Stream::ZERO,
                pending: Pending::NONE,
            };

            #[inline(always)]
            fn parts(&mut self) -> Parts<'_> {
                Parts {
                    ring: &mut self.ring,
                    matches: &mut self.matches,
                    slots: &mut self.slots,
                    second: &mut self.second,
                    run_confidence: &mut self.run_confidence,
                    match_confidence: &mut self.match_confidence,
                    column_confidence: &mut self.column_confidence,
                    anchors: &mut self.anchors,
                    line_at: &mut self.line_at,
                    line_type: &mut self.line_type,
                    weights: &mut self.weights,
                    final_weights: &mut self.final_weights,
                    order0: &mut self.order0,
                    sse: &mut self.sse,
                    bits: &mut self.bits,
                    bit_confidence: &mut self.bit_confidence,
                    numbers: &mut self.numbers,
                    number_confidence: &mut self.number_confidence,
                    stream: &mut self.stream,
                    pending: &mut self.pending,
                }
            }
        }
    };
}

preset!(
    /// 4 KB: three run predictors.
    Adapter4K,
    "start/4K.bin",
    Design {
        name: "4K",
        id: 1,
        ring: 1024,
        matches: 256,
        runs: &[Context::Last(2), Context::Above, Context::Column],
        slots: 340,
        two: false,
        columns: 64,
        anchors: 32,
        numbers: 0,
        histories: &[],
        bits: 0,
        sets: &[RowBy::MatchColumn, RowBy::BitWho, RowBy::Field],
        sse: Correction::None,
    }
);

preset!(
    /// 8 KB: four run predictors, three weight sets, no correction at the end.
    Adapter8K,
    "start/8K.bin",
    Design {
        name: "8K",
        id: 2,
        ring: 2048,
        matches: 512,
        runs: &[Context::Last(2), Context::Last(3), Context::Above, Context::Column],
        slots: 1040,
        two: false,
        columns: 128,
        anchors: 64,
        numbers: 0,
        histories: &[],
        bits: 0,
        sets: &[RowBy::MatchColumn, RowBy::BitWho, RowBy::Field],
        sse: Correction::None,
    }
);

preset!(
    /// 16 KB: six run predictors; the fourth weight set looks at the class of the byte before.
    Adapter16K,
    "start/16K.bin",
    Design {
        name: "16K",
        id: 3,
        ring: 4096,
        matches: 768,
        runs: &[Context::Last(1), Context::Last(2), Context::Last(3), Context::Column, Context::Above, Context::Place],
        slots: 2736,
        two: false,
        columns: 256,
        anchors: 128,
        numbers: 0,
        histories: &[],
        bits: 0,
        sets: &[RowBy::MatchColumn, RowBy::BitWho, RowBy::FieldHalf, RowBy::PreviousClass],
        sse: Correction::ByBit,
    }
);

preset!(
    /// 32 KB: two bytes a slot, numbers; the fourth weight set looks at the bits that are known.
    Adapter32K,
    "start/32K.bin",
    Design {
        name: "32K",
        id: 4,
        ring: 8192,
        matches: 1024,
        runs: &[Context::Last(2), Context::Last(3), Context::Last(4), Context::Column, Context::Above, Context::Place],
        slots: 4800,
        two: true,
        columns: 512,
        anchors: 256,
        numbers: 48,
        histories: &[],
        bits: 0,
        sets: &[RowBy::MatchColumn, RowBy::BitWho, RowBy::FieldHalf, RowBy::PartialByte],
        sse: Correction::ByBit,
    }
);

preset!(
    /// 64 KB: longer contexts, bit histories of orders 1 and 2.
    Adapter64K,
    "start/64K.bin",
    Design {
        name: "64K",
        id: 5,
        ring: 16_384,
        matches: 2048,
        runs: &[Context::Last(3), Context::Last(4), Context::Last(5), Context::Column, Context::Above, Context::Place],
        slots: 7000,
        two: true,
        columns: 1024,
        anchors: 512,
        numbers: 128,
        histories: &[Context::Last(1), Context::Last(2)],
        bits: 6144,
        sets: &[RowBy::MatchColumn, RowBy::BitWho, RowBy::FieldHalf, RowBy::PartialByte],
        sse: Correction::ByBit,
    }
);

preset!(
    /// 1 MB: bit histories of seven contexts, two corrections at the end.
    Adapter1M,
    "start/1M.bin",
    Design {
        name: "1M",
        id: 6,
        ring: 65_536,
        matches: 32_768,
        runs: &[Context::Last(3), Context::Last(4), Context::Last(5), Context::Field, Context::Above, Context::Column],
        slots: 65_534,
        two: true,
        columns: 4096,
        anchors: 4096,
        numbers: 1024,
        histories: &[Context::Last(1), Context::Last(2), Context::Last(4), Context::Place, Context::Word, Context::Pair, Context::Column],
        bits: 327_680,
        sets: &[
            RowBy::MatchColumn,
            RowBy::BitWho,
            RowBy::FieldHalf,
            RowBy::PartialByte,
            RowBy::PreviousByte,
        ],
        sse: Correction::ByNode,
    }
);
