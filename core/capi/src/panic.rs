//! The panic handler of the static library: proof by linking that there is nothing to handle.
#![allow(unsafe_code, reason = "a foreign function that does not exist")]

unsafe extern "C" {
    // SAFETY: never called; if it could be, the program would not link.
    safe fn MAMBABYTE_HAS_A_REACHABLE_PANIC() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    MAMBABYTE_HAS_A_REACHABLE_PANIC()
}
