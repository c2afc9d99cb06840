//! A plugin for QEMU: counts the instructions of an emulated chip, and cuts its power at any of them.
//!
//! ```text
//! cargo build --release -p mambabyte-qemu-plugin
//! qemu-system-arm ... -plugin target/release/libmambabyte_qemu_plugin.so,out=counts.txt
//! qemu-system-arm ... -plugin target/release/libmambabyte_qemu_plugin.so,kill_at=1000[,out=killed.txt]
//! ```
//!
//! Both refer to two markers in the program (`mambabyte_firmware::marker`), instructions that do nothing and that no
//! compiler emits:
//!
//! | | begin | end |
//! |---|---|---|
//! | Thumb | `mov r9, r9` | `mov r10, r10` |
//! | RISC-V | `slti x0, x0, 0x2b1` | `slti x0, x0, 0x2b2` |
//! | A64 | `movz xzr, #0xf1` | `movz xzr, #0xf2` |
//!
//! An instruction is counted when it starts, the conditional ones in a Thumb IT block whether or not their condition
//! holds. Neither marker is counted. The same program with the same input gives the same numbers on every run, as long
//! as no interrupt arrives whose time depends on the host (QEMU's `-icount` fixes those too).
//!
//! # Counting: `out=FILE`
//!
//! At the end of the program the file holds, one item a line:
//!
//! ```text
//! regions 1              times that the end marker was reached after the begin marker
//! instructions 4711      executed between the markers, all regions together
//! since_begin 5000       executed between the first begin marker and the end of the program
//! unbalanced 0           regions that ended deeper in calls than they began
//! context 1 0 0x1a2b     call context 1: called from context 0, will return to 0x1a2b
//! count 1 0x3c4e 64      in context 1 the instruction at 0x3c4e was executed 64 times
//! ```
//!
//! Context 0 is the function that holds the begin marker. With the return addresses and the program's debug
//! information each count belongs to a chain of calls, also where a function has no debug information of its own.
//!
//! # Power cuts: `kill_at=N`
//!
//! QEMU ends by SIGKILL instead of executing the Nth instruction after the first begin marker: N - 1 were executed,
//! whether before or after the end marker. Memory that QEMU shares with a file
//! (`-object memory-backend-file,..,share=on`, or `-drive if=pflash`) then holds what those stored, as after a power
//! cut. A loop over N from 1 to `instructions` is therefore every cut between the markers, and N > `since_begin` lets
//! the program end by itself. With `out=FILE` the file then says where it was:
//!
//! ```text
//! kill_at 1000
//! address 0x3c4e         of the instruction that was not executed
//! ```
//!
//! A region may be long: all but the last instructions are counted by blocks, close to the full speed of QEMU.
//!
//! With `stores=ADDRESS+LENGTH`, `kill_at` counts stores to these addresses, from the start of the program, and QEMU
//! ends right after the Nth. If the program ends first, the file has `stores N`, all of them.
//!
//! # QEMU versions
//!
//! From 6.0 with plugins (Debian 12 has 7.2). One virtual CPU. QEMU's plugin interface changed between versions; this
//! uses the part that did not, and finds the functions at run time, so that it builds without QEMU's headers.

mod context;
mod count;
mod decode;
mod kill;
mod options;
mod qemu;
