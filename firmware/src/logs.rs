//! Logs by defmt, through semihosting or RTT as the features choose; nothing without one of them.

#[cfg(feature = "log-rtt")]
use defmt_rtt as _;
#[cfg(feature = "log-semihosting")]
use defmt_semihosting as _;

#[cfg(all(feature = "log-rtt", feature = "log-semihosting"))]
compile_error!("logs go one way: choose one of the features log-rtt and log-semihosting");

/// Logs a line with defmt's formats. Never inside a step of the model.
#[cfg(any(feature = "log-rtt", feature = "log-semihosting"))]
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { defmt::info!($($argument)*) };
}

/// Logs nothing; the arguments are still looked at by the compiler.
#[cfg(not(any(feature = "log-rtt", feature = "log-semihosting")))]
#[macro_export]
macro_rules! log {
    ($text:literal $(, $argument:expr)* $(,)?) => {{ $( let _ = &$argument; )* }};
}
