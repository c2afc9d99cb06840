//! The small models that come with MambaByte, and texts to show them with, as bytes. `models/NAME/README.md` says what each
//! has learned.
//!
//! They are a crate, so that a package of what has them in it, of the command or of the Python library, holds them too.
#![no_std]

use mambabyte_core::include_blob;

/// A blob of 36 KB.
pub const SENSOR_PICO: &[u8] = include_blob!("sensor-pico/model.mbb");
/// A blob of 137 KB.
pub const SENSOR_NANO: &[u8] = include_blob!("sensor-nano/model.mbb");
/// A blob of 700 KB.
pub const SENSOR_MICRO: &[u8] = include_blob!("sensor-micro/model.mbb");
/// A receiver's log of positions, NMEA 0183.
pub const GNSS_SAMPLE: &[u8] = include_bytes!("text/gnss-sample.nmea");
/// A table of a service's latencies, of a kind that no model has learned.
pub const REQUEST_LATENCY: &[u8] = include_bytes!("text/request-latency.csv");
