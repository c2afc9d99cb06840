//! MambaByte for C: `libmambabyte.a` and `core/include/mambabyte.h`.
//!
//! The same decoder as in Rust, behind functions that check what they are given. All memory is the caller's: nothing is
//! allocated, nothing is global. A function returns a [`Status`]; results go through pointers and are written only if
//! the status is `MAMBABYTE_STATUS_OK`.
//!
//! ```text
//! cargo xtask c build                                     # libmambabyte.a for this machine
//! cargo xtask c build --target thumbv7em-none-eabihf      # and for a chip
//! cargo xtask c header                                    # writes core/include/mambabyte.h again
//! cargo xtask c test                                      # the C programs of tests/c on an emulated Cortex-M4
//! ```
//!
//! # A program
//!
//! `core/capi/examples/read.c`, which the tests compile and run:
//!
//! ```c
#![doc = include_str!("../examples/read.c")]
//! ```
//!
//! # What is checked
//!
//! * Pointers: not null, aligned, and the range does not wrap around the end of the address space.
//! * Lengths: at least what the model needs; a blob and a snapshot exactly.
//! * Ranges that are written do not overlap ranges that are read or written by the same call or by the decoder.
//! * A decoder was initialised where it lies: zeroed, foreign and moved memory is refused.
//! * Blob and snapshot: everything that the Rust side checks, checksums included.
//!
//! What cannot be checked is the caller's: that the memory exists, that it stays where it is while the decoder is used,
//! and that two threads do not use one decoder at the same time.
//!
//! # No panic
//!
//! The panic handler of the static library calls a function that is defined nowhere. The library links, so no panic can
//! be reached from any exported function (the tests of `cargo xtask c` link it).
//!
//! # Modules
//!
//! | module | what it does |
//! |---|---|
//! | [`adapter`] | learns the stream: `mambabyte_adapter_init_8k`, `mambabyte_adapter_read`, to save and to load it |
//! | [`detector`] | finds odd lines and keeps a promise: `mambabyte_detector_init`, `mambabyte_detector_push` |
//! | [`decoder`] | `mambabyte_init`, `mambabyte_step`, snapshots |
//! | [`logits`] | most probable byte, surprise, probability, sampling |
//! | [`status`] | what went wrong, and the words for it |
//! | `memory` | pointers into slices; the only place that trusts C |
#![no_std]

pub mod adapter;
pub mod decoder;
pub mod detector;
#[cfg(feature = "kernel-check")]
mod kernels;
pub mod logits;
mod memory;
#[cfg(all(feature = "panic-handler", not(test)))]
mod panic;
pub mod status;

pub use status::Status;
