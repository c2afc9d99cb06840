//! The interface to QEMU: its plugin functions, found at run time, and the two symbols that it looks for.
//!
//! Callbacks get a number as their user data instead of a pointer, so that they are safe functions.
#![allow(unsafe_code, reason = "QEMU's plugin interface is C")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::decode::Isa;
use crate::options::Options;
use crate::{count, kill};

/// Called before a block or an instruction is executed, with the number that it was registered with.
pub(crate) type Executed = extern "C" fn(vcpu: c_uint, number: usize);
/// Called after an access to memory: virtual CPU, kind, address, number that it was registered with.
pub(crate) type Accessed = extern "C" fn(vcpu: c_uint, kind: u32, address: u64, number: usize);
type Translated = extern "C" fn(id: u64, tb: *mut c_void);

/// The interface that the plugin asks for. Version 1 until 8.2, from 9.0 on at least 2; the functions used here are in
/// all of them.
#[unsafe(export_name = "qemu_plugin_version")]
pub(crate) static VERSION: AtomicI32 = AtomicI32::new(1);

// QEMU reads the version before it calls anything, but after the loader ran this.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static CHOOSE_VERSION: extern "C" fn() = choose_version;

#[cfg(target_os = "linux")]
extern "C" fn choose_version() {
    // The functions that came with version 2.
    if symbol(c"qemu_plugin_scoreboard_new").is_some() {
        VERSION.store(2, Ordering::Relaxed);
    }
}

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn kill(process: c_int, signal: c_int) -> c_int;
}

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // RTLD_DEFAULT
    let everywhere = if cfg!(target_vendor = "apple") { -2isize as *mut c_void } else { std::ptr::null_mut() };
    // SAFETY: the name ends with a zero; dlsym only reads it.
    let found = unsafe { dlsym(everywhere, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// Ends this process as a power cut ends a chip: at once, without writing anything back.
pub(crate) fn cut_power() -> ! {
    // SAFETY: kill takes two integers. 9 is SIGKILL on every system that has it.
    unsafe { kill(std::process::id() as c_int, 9) };
    std::process::abort()
}

/// Declares QEMU's functions and looks them all up.
macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        struct Functions { $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl Functions {
            fn find() -> Result<Self, String> {
                Ok(Self {
                    $($field: {
                        let found = symbol($name).ok_or_else(|| format!("this QEMU has no {:?}", $name))?;
                        // SAFETY: a function of this name has this type in all versions of qemu-plugin.h (`insn_data`
                        // takes the first argument only before 9.1; others are ignored).
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(found) }
                    },)*
                })
            }
        }
    };
}

functions! {
    on_translation = c"qemu_plugin_register_vcpu_tb_trans_cb": fn(u64, Translated);
    on_block = c"qemu_plugin_register_vcpu_tb_exec_cb": fn(*mut c_void, Executed, c_int, usize);
    on_instruction = c"qemu_plugin_register_vcpu_insn_exec_cb": fn(*mut c_void, Executed, c_int, usize);
    on_memory = c"qemu_plugin_register_vcpu_mem_cb": fn(*mut c_void, Accessed, c_int, c_int, usize);
    is_store = c"qemu_plugin_mem_is_store": fn(u32) -> bool;
    on_exit = c"qemu_plugin_register_atexit_cb": fn(u64, extern "C" fn(u64, usize), usize);
    reset = c"qemu_plugin_reset": fn(u64, extern "C" fn(u64));
    instructions = c"qemu_plugin_tb_n_insns": fn(*const c_void) -> usize;
    instruction = c"qemu_plugin_tb_get_insn": fn(*const c_void, usize) -> *mut c_void;
    address = c"qemu_plugin_insn_vaddr": fn(*const c_void) -> u64;
    data = c"qemu_plugin_insn_data": fn(*const c_void, *mut u8, usize) -> *const u8;
}

/// What QEMU says of itself; more follows that is not read.
#[repr(C)]
pub(crate) struct Info {
    target_name: *const c_char,
    version: [c_int; 2],
    system_emulation: bool,
    vcpus: c_int,
}

/// The plugin as QEMU knows it.
pub(crate) struct Qemu {
    functions: Functions,
    isa: Isa,
    id: u64,
}

static QEMU: OnceLock<Qemu> = OnceLock::new();

/// A block of instructions that QEMU translates.
pub(crate) struct Block<'q> {
    qemu: &'q Qemu,
    tb: *mut c_void,
}

/// An instruction of it.
pub(crate) struct Instruction<'q> {
    qemu: &'q Qemu,
    raw: *mut c_void,
    /// Where it is.
    pub(crate) address: u64,
    /// Its first four bytes, zeros if it is shorter.
    pub(crate) bytes: [u8; 4],
}

impl Qemu {
    /// The instruction set of the emulated chip.
    pub(crate) const fn isa(&self) -> Isa {
        self.isa
    }

    /// Whether an access of this kind is a store.
    pub(crate) fn is_store(&self, kind: u32) -> bool {
        // SAFETY: QEMU gave the kind.
        unsafe { (self.functions.is_store)(kind) }
    }

    /// Calls `callback` when the program ends.
    pub(crate) fn on_exit(&self, callback: extern "C" fn(u64, usize)) {
        // SAFETY: the id is the one that QEMU gave.
        unsafe { (self.functions.on_exit)(self.id, callback, 0) }
    }

    /// Lets QEMU forget all translations and with them all callbacks, soon; then translates anew with [`translate`].
    pub(crate) fn translate_anew(&self) {
        // SAFETY: as above. QEMU calls `start` once it is done.
        unsafe { (self.functions.reset)(self.id, start) }
    }

    fn start_translating(&self) {
        // SAFETY: as above; `translate` has the type that QEMU calls.
        unsafe { (self.functions.on_translation)(self.id, translate) }
    }
}

impl Block<'_> {
    /// Its instructions in order.
    pub(crate) fn instructions(&self) -> Vec<Instruction<'_>> {
        let f = &self.qemu.functions;
        // SAFETY: the block is valid while QEMU translates it, and this is only reached from there.
        let n = unsafe { (f.instructions)(self.tb) };
        (0..n).map(|i| self.instruction(i)).collect()
    }

    fn instruction(&self, index: usize) -> Instruction<'_> {
        let f = &self.qemu.functions;
        let mut bytes = [0u8; 4];
        // SAFETY: as above, and `index` is below the number of instructions. Up to 8.2 `data` returns a pointer to at
        // least the bytes of the instruction, which live in a buffer of QEMU that is longer than 4 bytes; from 9.1 on
        // it copies at most 4 bytes and returns how many, which is no address.
        unsafe {
            let raw = (f.instruction)(self.tb, index);
            let returned = (f.data)(raw, bytes.as_mut_ptr(), bytes.len());
            if returned as usize > bytes.len() {
                bytes[..2].copy_from_slice(std::slice::from_raw_parts(returned, 2));
                if self.qemu.isa.decode(bytes).0 > 2 {
                    bytes.copy_from_slice(std::slice::from_raw_parts(returned, 4));
                }
            }
            Instruction { qemu: self.qemu, raw, address: (f.address)(raw), bytes }
        }
    }

    /// Calls `callback(number)` whenever the block starts.
    pub(crate) fn on_execution(&self, callback: Executed, number: usize) {
        // SAFETY: as above. 0: the callback reads no registers.
        unsafe { (self.qemu.functions.on_block)(self.tb, callback, 0, number) }
    }
}

impl Instruction<'_> {
    /// Calls `callback(number)` whenever the instruction starts.
    pub(crate) fn on_execution(&self, callback: Executed, number: usize) {
        // SAFETY: the instruction is valid while QEMU translates its block.
        unsafe { (self.qemu.functions.on_instruction)(self.raw, callback, 0, number) }
    }

    /// Calls `callback` after each store of the instruction; QEMU 7.2 does so after loads too.
    pub(crate) fn on_store(&self, callback: Accessed) {
        // SAFETY: as above. 0: the callback reads no registers; 2: stores.
        unsafe { (self.qemu.functions.on_memory)(self.raw, callback, 0, 2, 0) }
    }
}

/// The interface to QEMU, once the plugin is installed.
pub(crate) fn qemu() -> Option<&'static Qemu> {
    QEMU.get()
}

extern "C" fn start(_id: u64) {
    if let Some(qemu) = qemu() {
        qemu.start_translating();
    }
}

extern "C" fn translate(_id: u64, tb: *mut c_void) {
    let Some(qemu) = qemu() else { return };
    let block = Block { qemu, tb };
    if kill::active() { kill::translate(&block, qemu.isa()) } else { count::translate(&block, qemu.isa()) }
}

/// QEMU's call when it loads the plugin. A result other than 0 ends QEMU.
///
/// # Safety
/// QEMU passes its description and `argc` strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    info: *const Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU passes `argc` strings that end with a zero.
    let items: Vec<String> = (0..usize::try_from(argc).unwrap_or(0))
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) }.to_string_lossy().into_owned())
        .collect();
    // SAFETY: QEMU passes a description that begins with these fields, its first a string.
    let (info, target) = unsafe { (&*info, CStr::from_ptr((*info).target_name)) };
    match install(id, info, &target.to_string_lossy(), &items) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("mambabyte-qemu-plugin: {error}");
            1
        }
    }
}

fn install(id: u64, info: &Info, target: &str, items: &[String]) -> Result<(), String> {
    let options = Options::parse(items)?;
    let isa = Isa::of_target(target).ok_or_else(|| format!("{target}: unknown instruction set"))?;
    if info.system_emulation && info.vcpus != 1 {
        return Err(format!("{} virtual CPUs, one was expected", info.vcpus));
    }
    let qemu = Qemu { functions: Functions::find()?, isa, id };
    match options {
        Options { out, kill_at: Some(at), stores } => kill::arm(at, stores, out),
        Options { out: Some(out), kill_at: None, .. } => count::arm(out),
        Options { out: None, kill_at: None, .. } => return Err("nothing to do".into()),
    }
    let qemu = QEMU.get_or_init(|| qemu);
    qemu.on_exit(if kill::active() { kill::finish } else { count::finish });
    qemu.start_translating();
    Ok(())
}
