//! What an archive or a primed adapter needs and holds.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use mambabyte_core::adapt::Design;
use mambabyte_core::archive::{Header, MAGIC, ModelName, PRIMED_MAGIC, PrimedId};
use mambabyte_host::archive::{ArchiveFault, Totals, survey};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::net::PrimedFile;
use crate::output::{clean, hex, print, print_json, thousands};

/// Archives of one file that are listed; of more the number is said.
const LISTED: u64 = 100;

/// Shows the file at `path` if it is one of these; whether it was.
pub(super) fn shown(path: &Path, as_json: bool) -> Result<bool, CliError> {
    let mut magic = [0; 4];
    let Ok(()) = File::open(path).and_then(|mut file| file.read_exact(&mut magic)) else { return Ok(false) };
    match magic {
        MAGIC => archive(path, as_json)?,
        PRIMED_MAGIC => primed(path, as_json)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn design_name(design: Option<&Design>) -> &'static str {
    design.map_or("off", |design| design.name)
}

fn model_json(model: &ModelName) -> Value {
    if model.is_none() {
        json!(null)
    } else {
        json!({ "name": model.name(), "fingerprint": hex(&model.fingerprint()) })
    }
}

fn primed_json(primed: Option<PrimedId>) -> Value {
    primed.map_or(Value::Null, |id| json!({ "crc": format!("{:08x}", id.crc), "bytes": id.bytes }))
}

fn archive(path: &Path, as_json: bool) -> Result<(), CliError> {
    let mut file = File::open(path).map_err(|error| CliError::io(path, error))?;
    let (mut out, mut objects, mut count) = (String::new(), Vec::new(), 0u64);
    let mut see = |header: &Header, totals: &Totals| {
        count += 1;
        if count > LISTED {
            return;
        }
        let adapt = design_name(header.design());
        if as_json {
            objects.push(json!({
                "model": model_json(&header.model), "adapt": adapt, "primed": primed_json(header.primed),
                "bytes": totals.plain, "archive_bytes": totals.archive, "code_bytes": totals.code,
                "blocks": totals.blocks, "stored_blocks": totals.stored, "largest_block": header.block,
            }));
            return;
        }
        let _ = writeln!(out, "MambaByte archive, version 1");
        let _ = writeln!(out, "model        {}", clean(&header.model.to_string()));
        let _ = writeln!(out, "adapter      {adapt}");
        if let Some(PrimedId { crc, bytes }) = header.primed {
            let _ = writeln!(out, "primed       CRC-32 {crc:08x}, has read {} bytes", thousands(bytes));
        }
        let (plain, bytes) = (thousands(totals.plain), thousands(totals.archive));
        let _ = writeln!(out, "size         {plain} bytes in {bytes}");
        let _ = writeln!(
            out,
            "blocks       {}, {} of them stored, of up to {} bytes",
            totals.blocks,
            totals.stored,
            thousands(u64::from(header.block))
        );
        let _ = writeln!(out, "checksums    ok (what it decodes to is checked by decompress)");
    };
    let looked = survey(&mut file, &mut see);
    if as_json {
        print_json(&json!({ "kind": "archive", "version": 1, "count": count, "archives": objects }))?;
    } else {
        if count > LISTED {
            let _ = writeln!(out, "and {} more archives", count - LISTED);
        }
        print(&out)?;
    }
    looked.map_err(|fault| match fault {
        ArchiveFault::Read(error) => CliError::io(path, error),
        source => CliError::Archive { path: path.to_owned(), source },
    })
}

fn primed(path: &Path, as_json: bool) -> Result<(), CliError> {
    let file = PrimedFile::open(path)?;
    let primed = file.primed()?;
    let (model, id, design) = (primed.model(), primed.id(), primed.design());
    if as_json {
        return print_json(&json!({
            "kind": "primed adapter", "version": 1, "model": model_json(&model), "adapt": design.name, "bytes": id.bytes,
            "crc": format!("{:08x}", id.crc), "adapter_bytes": primed.adapter().len(),
        }));
    }
    print(&format!(
        "MambaByte primed adapter, version 1\nmodel        {}\nadapter      {}, {} bytes\nread         {} bytes\n\
         checksum     {:08x} ok\n",
        clean(&model.to_string()),
        design.name,
        thousands(primed.adapter().len() as u64),
        thousands(id.bytes),
        id.crc
    ))
}
