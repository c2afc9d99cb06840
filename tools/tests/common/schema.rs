//! A validator of the part of JSON Schema that `docs/stream.schema.json` uses. A word that it does not know fails.

use serde_json::Value;

/// Why `value` does not fit `schema`, if it does not.
pub(crate) fn misfit(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let number = |key: &str| schema[key].as_f64();
    for (word, rule) in schema.as_object()? {
        let wrong = match word.as_str() {
            "$schema" | "title" | "description" | "$defs" => None,
            "$ref" => {
                let at = rule.as_str().unwrap().trim_start_matches('#');
                misfit(root, root.pointer(at).expect("a definition"), value)
            }
            "oneOf" => {
                let all: Vec<_> = rule.as_array().unwrap().iter().map(|one| misfit(root, one, value)).collect();
                let fits = all.iter().filter(|one| one.is_none()).count();
                (fits != 1).then(|| format!("{fits} of the kinds fit: {all:?}"))
            }
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    "number" => value.is_number(),
                    "integer" => value.is_u64() || value.is_i64(),
                    other => panic!("type {other}"),
                };
                let fits = rule.as_array().map_or_else(|| is(rule), |all| all.iter().any(is));
                (!fits).then(|| format!("no {rule}"))
            }
            "enum" => (!rule.as_array().unwrap().contains(value)).then(|| format!("none of {rule}")),
            "const" => (rule != value).then(|| format!("not {rule}")),
            "minimum" => {
                value.as_f64().filter(|&v| v < number("minimum").unwrap()).map(|v| format!("{v} is too small"))
            }
            "maximum" => {
                value.as_f64().filter(|&v| v > number("maximum").unwrap()).map(|v| format!("{v} is too large"))
            }
            "minItems" => {
                value.as_array().filter(|v| (v.len() as f64) < number("minItems").unwrap()).map(|_| "few".into())
            }
            "maxItems" => {
                value.as_array().filter(|v| (v.len() as f64) > number("maxItems").unwrap()).map(|_| "many".into())
            }
            "items" => value.as_array().and_then(|all| all.iter().find_map(|item| misfit(root, rule, item))),
            "required" => {
                let missing = rule.as_array().unwrap().iter().find(|key| value.get(key.as_str().unwrap()).is_none());
                missing.map(|key| format!("{key} is missing"))
            }
            "properties" => rule.as_object().unwrap().iter().find_map(|(key, rule)| {
                let value = value.get(key)?;
                misfit(root, rule, value).map(|why| format!("{key}: {why}"))
            }),
            "additionalProperties" => {
                assert_eq!(rule, false);
                let known = schema["properties"].as_object().unwrap();
                let more = value.as_object()?.keys().find(|key| !known.contains_key(*key));
                more.map(|key| format!("{key} is not known"))
            }
            other => panic!("the schema says {other}"),
        };
        if wrong.is_some() {
            return wrong;
        }
    }
    None
}
