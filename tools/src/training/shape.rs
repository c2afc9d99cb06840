//! The shapes that `train` knows by name, and the largest that a chip has room for.

use clap::ValueEnum;
use mambabyte_core::{Dims, Norm};

use crate::chips::{CHIPS, Chip, Need};
use crate::error::CliError;
use crate::output::{bytes, clean};

/// A shape by name: width x layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// 32 x 3, 33 thousand parameters.
    Pico,
    /// 64 x 4, 131 thousand.
    Nano,
    /// 128 x 6, 685 thousand.
    Micro,
    /// 256 x 8, 3.6 million.
    Small,
    /// 512 x 12, 20.5 million.
    Medium,
    /// 1024 x 24, 160 million.
    Large,
    /// 1024 x 53, 354 million: the smaller one of the paper.
    #[value(name = "350m")]
    M350,
}

impl Shape {
    /// The shape. Up to micro there are 8 states, as in the shipped models, and the decays of nano's and micro's channels
    /// are tied; beyond, there are 16 and they are free, as in the paper's.
    pub const fn dims(self) -> Dims {
        match self {
            Self::Pico => Dims { tied_decays: false, ..of(32, 3, true) },
            Self::Nano => of(64, 4, true),
            Self::Micro => of(128, 6, true),
            Self::Small => of(256, 8, false),
            Self::Medium => of(512, 12, false),
            Self::Large => of(1024, 24, false),
            Self::M350 => of(1024, 53, false),
        }
    }
}

/// The dimensions that follow from width and layers: 8 states if the decays are tied, else 16.
pub const fn of(d_model: usize, n_layer: usize, tied_decays: bool) -> Dims {
    Dims {
        d_model,
        n_layer,
        d_inner: d_model.saturating_mul(2),
        d_state: if tied_decays { 8 } else { 16 },
        d_conv: 4,
        dt_rank: d_model.div_ceil(16),
        norm: Norm::Rms,
        tied_head: true,
        tied_decays,
    }
}

/// The largest shape that fits the chip, and a sentence that says why.
///
/// # Errors
/// [`CliError::Usage`] for an unknown chip or one that has room for none.
pub fn largest(asked: &str) -> Result<(Shape, String), CliError> {
    let wanted = asked.to_lowercase();
    let chip: Option<&Chip> = CHIPS.iter().find(|chip| chip.name.to_lowercase().contains(&wanted));
    let Some(chip) = chip else {
        let names: Vec<_> = CHIPS.iter().map(|chip| chip.name).collect();
        let (asked, names) = (clean(asked), names.join(", "));
        return Err(CliError::Usage(format!("--chip {asked}: not in the table; known: {names}")));
    };
    let need = |shape: &Shape| Need::of(&shape.dims());
    let fits = |shape: &Shape| {
        let (flash, ram) = need(shape).left(chip);
        flash >= 0 && ram >= 0
    };
    let name = |shape: Shape| shape.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let of = |shape: Shape| {
        let need = need(&shape);
        format!("{} takes {} of flash and {} of RAM", name(shape), bytes(need.rom()), bytes(need.ram()))
    };
    let has = format!("{} has {} and {}", chip.name, bytes(chip.flash), bytes(chip.ram));
    let all = Shape::value_variants();
    let Some(found) = all.iter().rposition(fits) else {
        let reason = all.first().map(|&smallest| of(smallest)).unwrap_or_default();
        return Err(CliError::Usage(format!("--chip {}: {has}, {reason}", clean(asked))));
    };
    let next = all.get(found + 1).map(|&next| format!("; {}", of(next))).unwrap_or_default();
    Ok((all[found], format!("{has}, some of it for the program: {}{next}", of(all[found]))))
}

#[cfg(test)]
mod tests {
    use mambabyte_host::train::initial;

    use super::*;

    #[test]
    fn named_shapes_are_those_of_the_shipped_models() {
        for (shape, parameters) in
            [(Shape::Pico, 33_472), (Shape::Nano, 131_392), (Shape::Micro, 684_928), (Shape::Small, 3_569_920)]
        {
            assert_eq!(initial::checkpoint(&shape.dims(), 1).parameters(), parameters, "{shape:?}");
        }
    }

    #[test]
    fn a_chip_gets_the_largest_that_fits() {
        for (chip, shape) in [
            ("micro:bit", Shape::Pico),
            ("STM32F411", Shape::Nano),
            ("stm32f405", Shape::Micro),
            ("Teensy", Shape::Small),
        ] {
            let (found, why) = largest(chip).unwrap();
            assert_eq!(found, shape, "{chip}: {why}");
            assert!(why.contains("has") && why.contains("takes"), "{why}");
        }
        assert!(largest("abacus").unwrap_err().to_string().contains("known: "));
    }
}
