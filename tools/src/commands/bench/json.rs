//! Reading the report, which is JSON.

use serde_json::Value;

/// A number; 0 if it is not one.
pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// The elements of an array; none if it is not one.
pub(super) fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
