//! `mambabyte man`: the manual, from the same words as `--help`.

use std::path::PathBuf;

use clap_mangen::Man;

use crate::error::CliError;
use crate::output::{Door, print};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "man | man -l -"
    "man ~/.local/share/man/man1 && man mambabyte-stream"
})]
pub struct Args {
    /// An existing folder for the pages of the program and of every command. Default: the program's page on standard
    /// output.
    pub folder: Option<PathBuf>,
}

/// Runs the command for `program`.
///
/// # Errors
/// [`CliError`] names the page that cannot be written; none is new then.
pub fn run(args: &Args, program: clap::Command) -> Result<(), CliError> {
    let mut command = program.disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.folder else {
        return print(&page(command)?.1);
    };
    let shown: Vec<clap::Command> = command.get_subcommands().filter(|c| !c.is_hide_set()).cloned().collect();
    let pages = [command].into_iter().chain(shown).map(page).collect::<Result<Vec<_>, CliError>>()?;
    let mut door = Door::default();
    for (name, _) in &pages {
        door.writes(name, &*folder.join(name));
    }
    let contents: Vec<_> = pages.iter().map(|(name, page)| (name.as_str(), page.as_bytes())).collect();
    door.open()?.write(&contents)
}

/// Name and text of the page of a command.
fn page(command: clap::Command) -> Result<(String, String), CliError> {
    let (page, mut text) = (Man::new(command), Vec::new());
    page.render(&mut text).map_err(|e| CliError::io("manual page", e))?;
    // The only words below the options are examples.
    let text = String::from_utf8_lossy(&text).replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n");
    Ok((page.get_filename(), text))
}
