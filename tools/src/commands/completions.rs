//! `mambabyte completions`: what a shell needs to complete this command.

use clap_complete::Shell;

use crate::error::CliError;
use crate::output::print;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = examples! {
    "completions bash > ~/.local/share/bash-completion/completions/mambabyte"
    "completions zsh > ~/.zfunc/_mambabyte"
    "completions fish > ~/.config/fish/completions/mambabyte.fish"
})]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs the command for `program`.
///
/// # Errors
/// [`CliError`] if standard output fails.
pub fn run(args: &Args, mut program: clap::Command) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "mambabyte", &mut script);
    print(&String::from_utf8_lossy(&script))
}
