//! From the result of a program to the weights in it.

use std::collections::HashSet;

use super::machine::{Class, Machine, Pair, Stored, Value, other};
use super::outcome::{PickleError, PickledTensor, StateDict};
use crate::formats::shorten::shorten;

/// Where training scripts keep the weights in a checkpoint, the likeliest first.
const ENTRIES: [&str; 5] = ["model", "model_state_dict", "state_dict", "module", "net"];
/// Most keys that a message lists.
const LISTED: usize = 12;

impl<'a> Machine<'a> {
    /// The state dict that `result` is or holds.
    ///
    /// # Errors
    /// [`PickleError::NotStateDict`] says what it is instead, [`PickleError::Class`] of which class.
    pub(super) fn state_dict(&self, result: Value) -> Result<StateDict<'a>, PickleError> {
        let top = match result {
            Value::Dict(dict) => dict,
            Value::Object(mention) | Value::Class(Class::Unknown(mention)) => {
                return Err(self.refused(mention));
            }
            other => return Err(PickleError::NotStateDict { what: format!("its top level is {}", other.kind()) }),
        };
        let holding: HashSet<u32> =
            self.pairs.iter().filter(|pair| self.is_tensor(pair)).map(|pair| pair.dict).collect();
        let names: Vec<(&str, Value)> =
            self.pairs_of(top).filter_map(|pair| Some((self.key(pair)?, pair.value))).collect();
        let dict = |value| match value {
            Value::Dict(dict) if holding.contains(&dict) => Some(dict),
            _ => None,
        };
        let entry = |name: &&str| names.iter().find_map(|(key, value)| if key == name { dict(*value) } else { None });
        // An entry of the usual name; the dict itself, which may have a loss or a counter as a tensor beside such an
        // entry; or the only entry that holds tensors.
        let usual = ENTRIES.iter().find_map(|name| Some((*name, entry(name)?)));
        if usual.is_none() && holding.contains(&top) {
            return self.entries(top);
        }
        let mut others = names.iter().filter_map(|&(name, value)| Some((name, dict(value)?)));
        let found = usual.or_else(|| match (others.next(), others.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        });
        let Some((name, dict)) = found else { return Err(self.no_state_dict(top, &names)) };
        let own = names.iter().map(|(key, _)| *key).find(|key| *key == name);
        let beside = names.iter().map(|(key, _)| *key).filter(|key| *key != name).collect();
        Ok(StateDict { entry: own, beside, ..self.entries(dict)? })
    }

    fn pairs_of(&self, dict: u32) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(move |pair| pair.dict == dict)
    }

    fn key(&self, pair: &Pair) -> Option<&'a str> {
        match pair.key {
            Value::Str(name) => Some(self.str(name)),
            _ => None,
        }
    }

    fn is_tensor(&self, pair: &Pair) -> bool {
        matches!((pair.key, pair.value), (Value::Str(_), Value::Tensor(_)))
    }

    /// Tensors and other entries of a dict.
    fn entries(&self, dict: u32) -> Result<StateDict<'a>, PickleError> {
        let mut found = StateDict::default();
        // A name is written once; the memo could give one to all.
        let mut left = self.bytes.len();
        for pair in self.pairs_of(dict) {
            let Some(name) = self.key(pair) else {
                return Err(PickleError::NotStateDict { what: format!("a key is {}", pair.key.kind()) });
            };
            let repeated = || PickleError::NotStateDict { what: "its keys are longer than the pickle".to_owned() };
            left = left.checked_sub(name.len()).ok_or_else(repeated)?;
            match self.tensor(name, pair.value) {
                Ok(tensor) => found.tensors.push(tensor),
                Err(what) => found.others.push((name, what)),
            }
        }
        Ok(found)
    }

    /// A tensor of floats, or what there is instead.
    fn tensor(&self, name: &'a str, value: Value) -> Result<PickledTensor<'a>, String> {
        let Value::Tensor(tensor) = value else { return Err(self.what(value)) };
        let tensor = self.tensors.get(tensor as usize).ok_or_else(|| self.what(value))?;
        let storage = self.storages.get(tensor.storage as usize).ok_or_else(|| self.what(value))?;
        match storage.stored {
            Stored::Float(dtype) => Ok(PickledTensor {
                name,
                dtype,
                storage: self.str(storage.key),
                storage_elements: storage.elements,
                offset: tensor.offset,
                shape: self.sizes_of(tensor.shape),
                strides: self.sizes_of(tensor.strides),
            }),
            Stored::Other(class) => Err(format!("a tensor of {}", other(class))),
        }
    }

    fn what(&self, value: Value) -> String {
        match value {
            Value::Object(mention) => match self.refused(mention) {
                PickleError::Class { module, name, offset } => {
                    format!("an object of `{module}.{name}` (byte {offset})")
                }
                _ => value.kind().to_owned(),
            },
            _ => value.kind().to_owned(),
        }
    }

    fn no_state_dict(&self, top: u32, names: &[(&str, Value)]) -> PickleError {
        if let Some(pair) = self.pairs_of(top).find(|pair| self.key(pair).is_none()) {
            return PickleError::NotStateDict { what: format!("a key is {}", pair.key.kind()) };
        }
        let listed =
            names.iter().take(LISTED).map(|&(name, value)| format!("`{}` is {}", shorten(name), self.what(value)));
        let more = if names.len() > LISTED { format!(" and {} more", names.len() - LISTED) } else { String::new() };
        let listed: Vec<String> = listed.collect();
        let what = if listed.is_empty() { "it is an empty dict".to_owned() } else { listed.join(", ") + &more };
        PickleError::NotStateDict { what }
    }
}
