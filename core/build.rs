//! Names the processor families that `cfg(target_feature)` does not show on a stable compiler.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for cfg in [
        "mambabyte_dsp",
        "mambabyte_armv8m",
        "mambabyte_mve",
        "mambabyte_thumb1",
        "mambabyte_mcu",
        "mambabyte_avx2",
        "mambabyte_avx512",
        "mambabyte_neon",
        "mambabyte_simd128",
        "mambabyte_vector",
        "mambabyte_tiles",
    ] {
        println!("cargo:rustc-check-cfg=cfg({cfg})");
    }
    let target = env::var("TARGET").unwrap_or_default();
    // Armv8-M has the DSP extension and Helium only where the processor that was asked for has them.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let cpu = flags.split('\x1f').filter_map(|f| f.rsplit_once("target-cpu=")).map(|(_, cpu)| cpu).next_back();
    let dsp = target.starts_with("thumbv7em") || (target.starts_with("thumbv8m.main") && cpu == Some("cortex-m33"));
    let mve = target.starts_with("thumbv8m.main") && matches!(cpu, Some("cortex-m55" | "cortex-m85"));
    if dsp {
        println!("cargo:rustc-cfg=mambabyte_dsp");
    }
    if target.starts_with("thumbv8m") {
        println!("cargo:rustc-cfg=mambabyte_armv8m");
    }
    if mve {
        println!("cargo:rustc-cfg=mambabyte_mve");
    }
    if target.starts_with("thumbv6m") {
        println!("cargo:rustc-cfg=mambabyte_thumb1");
    }
    if target.starts_with("thumb") || target.starts_with("riscv32") {
        println!("cargo:rustc-cfg=mambabyte_mcu");
    }
    // Workstations: what this build can contain. Whether the processor has it is asked at run time if there is `std`.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let std = env::var_os("CARGO_FEATURE_STD").is_some();
    let has = |feature: &str| features.split(',').any(|f| f == feature);
    let avx2 = arch == "x86_64" && (std || has("avx2") && has("fma"));
    let avx512 = arch == "x86_64" && (std || has("avx512vnni"));
    let neon = arch == "aarch64" && has("neon");
    let simd128 = arch == "wasm32" && has("simd128");
    for (cfg, present) in [
        ("mambabyte_avx2", avx2),
        ("mambabyte_avx512", avx512),
        ("mambabyte_neon", neon),
        ("mambabyte_simd128", simd128),
        ("mambabyte_vector", avx2 || avx512 || neon || simd128),
        // Weights in tiles: where there is memory for a copy of them.
        ("mambabyte_tiles", avx2 || avx512 || std && !(target.starts_with("thumb") || target.starts_with("riscv32"))),
    ] {
        if present {
            println!("cargo:rustc-cfg={cfg}");
        }
    }
}
