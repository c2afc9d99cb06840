//! The end of a program that has met a bug: it says where, then ends with a status that is not 0. On a board without a
//! debugger that is a fault, and a fault restarts the board (`boot`).

use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say(info);
    end()
}

#[cfg(any(feature = "log-rtt", feature = "log-semihosting"))]
fn say(info: &PanicInfo<'_>) {
    let (file, line) = info.location().map_or(("?", 0), |l| (l.file(), l.line()));
    defmt::error!("panic: {}, {}:{}", info.message().as_str().unwrap_or("text with numbers"), file, line);
}

#[cfg(not(any(feature = "log-rtt", feature = "log-semihosting", feature = "uart")))]
fn say(info: &PanicInfo<'_>) {
    semihosting::eprintln!("{info}");
}

/// Without `core::fmt`, which is 10 KB of a program that needs it for nothing else.
#[cfg(all(feature = "uart", not(any(feature = "log-rtt", feature = "log-semihosting"))))]
fn say(info: &PanicInfo<'_>) {
    use semihosting::io::Write;
    let Ok(mut err) = semihosting::io::stderr() else { return };
    let (file, line) = info.location().map_or(("?", 0), |l| (l.file(), l.line()));
    let mut digits = *b"0000000000\n";
    let mut rest = line;
    for digit in digits.iter_mut().rev().skip(1) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let text = info.message().as_str().unwrap_or("text with numbers");
    for part in ["panic: ", text, ", ", file, ", line "] {
        let _ = err.write_all(part.as_bytes());
    }
    let _ = err.write_all(&digits);
}

/// Ends the program with status 1 under an emulator.
#[cfg(not(feature = "log-rtt"))]
fn end() -> ! {
    semihosting::process::exit(1)
}

/// A fault: a debugger that is attached stops at it and ends with a status that is not 0.
#[cfg(feature = "log-rtt")]
fn end() -> ! {
    #[cfg(target_arch = "arm")]
    cortex_m::asm::udf();
    #[cfg(target_arch = "riscv32")]
    loop {
        // SAFETY: control goes to the debugger or to the handler of exceptions; nothing follows that could be
        // disturbed.
        unsafe { riscv::asm::ebreak() };
    }
}
