//! What `mambabyte train` is made of, beside the run itself (`mambabyte_host::train`): its texts, the recipe that says
//! which run it is, the folder that it writes, its log, and what is made of the log at the end.

pub mod card;
pub mod finish;
pub mod folder;
pub mod log;
pub mod pace;
pub mod place;
pub mod recipe;
pub mod report;
pub mod run;
pub mod sample;
pub mod shape;
pub mod subword;
pub mod texts;
