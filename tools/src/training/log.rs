//! The log of a run: a JSON object a line, without times, so that equal runs have equal logs. Report and card are
//! made of it and of nothing else.

use serde_json::{Value, json};

use super::recipe::Recipe;

/// The lines so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log(String);

/// Of a series: step and value.
pub type Points = Vec<(f64, f64)>;

impl Log {
    /// What was written of it.
    pub const fn of(text: String) -> Self {
        Self(text)
    }

    /// All lines.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The first line. `passes`: how often the steps read the text.
    pub fn begin(&mut self, recipe: &Recipe, passes: f64, parameters: usize, holdout: usize) {
        self.push(&json!({
            "recipe": recipe, "passes": passes, "parameters": parameters, "holdout_bytes": holdout,
        }));
    }

    /// A line.
    pub fn push(&mut self, value: &Value) {
        self.0.push_str(&value.to_string());
        self.0.push('\n');
    }

    fn lines(&self) -> impl Iterator<Item = Value> {
        self.0.lines().filter_map(|line| serde_json::from_str(line).ok())
    }

    /// All lines that have `key`: their step and its value.
    pub fn points(&self, key: &str) -> Points {
        self.lines().filter_map(|line| Some((line["step"].as_f64()?, line[key].as_f64()?))).collect()
    }

    /// All lines that have `key` as text: their step and the text.
    pub fn texts(&self, key: &str) -> Vec<(u64, String)> {
        self.lines().filter_map(|line| Some((line["step"].as_u64()?, line[key].as_str()?.to_owned()))).collect()
    }
}
