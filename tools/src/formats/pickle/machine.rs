//! The stack machine behind [`parse_pickle`](super::parse_pickle).
//!
//! Containers live in one arena and values are small copies that point into it. So the memo shares instead of copying
//! (no billion laughs), a deep nesting costs no recursion, and the memory in use is proportional to the bytes read:
//! every opcode adds at most one stack slot, one memo entry and one container.

use std::collections::HashMap;

use super::outcome::{PickleError, PickledTensor};
use crate::formats::shorten::shorten;
use crate::formats::tensor::Dtype;

/// Most tensors read; the deepest accepted model has 12,292.
const MAX_TENSORS: usize = 1 << 14;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Class {
    fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Class::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Class::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Class::RebuildParameter,
            ("torch", "FloatStorage") => Class::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Class::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Class::Storage(Dtype::Bf16),
            ("torch", "DoubleStorage") => Class::Storage(Dtype::F64),
            _ => return None,
        })
    }
}

#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    None,
    Bool,
    Int(i64),
    Str(&'a str),
    Class(Class),
    Storage {
        dtype: Dtype,
        key: &'a str,
        elements: usize,
    },
    /// Index into the arena, as are the next three.
    Tuple(usize),
    List(usize),
    Dict(usize),
    Tensor(usize),
}

impl Value<'_> {
    fn kind(self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool => "a bool",
            Value::Int(_) => "an integer",
            Value::Str(_) => "a string",
            Value::Class(_) => "a class",
            Value::Storage { .. } => "a storage",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
            Value::Tensor(_) => "a tensor",
        }
    }
}

struct Tensor<'a> {
    dtype: Dtype,
    key: &'a str,
    storage_elements: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Position of the opcode in progress, for errors.
    opcode_at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at each open MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    /// Tuples and lists.
    sequences: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    tensors: Vec<Tensor<'a>>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            opcode_at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            sequences: Vec::new(),
            dicts: Vec::new(),
            tensors: Vec::new(),
        }
    }

    pub(super) fn run(&mut self) -> Result<Value<'a>, PickleError> {
        loop {
            self.opcode_at = self.at;
            match self.byte()? {
                // PROTO, FRAME
                0x80 => match self.byte()? {
                    2..=5 => {}
                    found => return Err(PickleError::Protocol { found }),
                },
                0x95 => drop(self.take(8)?),
                // NONE, NEWTRUE, NEWFALSE
                b'N' => self.stack.push(Value::None),
                0x88 | 0x89 => self.stack.push(Value::Bool),
                // BININT, BININT1, BININT2, LONG1
                b'J' => {
                    let int = i32::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(i64::from(int)));
                }
                b'K' => {
                    let int = self.byte()?;
                    self.stack.push(Value::Int(i64::from(int)));
                }
                b'M' => {
                    let int = u16::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(i64::from(int)));
                }
                0x8a => {
                    let int = self.long1()?;
                    self.stack.push(Value::Int(int));
                }
                // BINUNICODE, SHORT_BINUNICODE
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    let text = self.text(length)?;
                    self.stack.push(Value::Str(text));
                }
                0x8c => {
                    let length = usize::from(self.byte()?);
                    let text = self.text(length)?;
                    self.stack.push(Value::Str(text));
                }
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(module, name)?;
                }
                0x93 => match (self.pop()?, self.pop()?) {
                    (Value::Str(name), Value::Str(module)) => self.global(module, name)?,
                    _ => return Err(self.malformed("STACK_GLOBAL wants two strings")),
                },
                // MARK, EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT
                b'(' => self.marks.push(self.stack.len()),
                b')' => self.push_tuple(Vec::new()),
                b']' => {
                    self.stack.push(Value::List(self.sequences.len()));
                    self.sequences.push(Vec::new());
                }
                b'}' => self.push_dict(),
                // TUPLE, TUPLE1, TUPLE2, TUPLE3
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push_tuple(items);
                }
                code @ 0x85..=0x87 => {
                    let start = self.height_for(usize::from(code - 0x84))?;
                    let items = self.stack.split_off(start);
                    self.push_tuple(items);
                }
                // BINPUT, LONG_BINPUT, MEMOIZE
                b'q' => {
                    let slot = u32::from(self.byte()?);
                    self.memoize(slot)?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.memoize(slot)?;
                }
                0x94 => {
                    let slot = u32::try_from(self.memo.len()).map_err(|_| self.malformed("memo overflow"))?;
                    self.memoize(slot)?;
                }
                // BINGET, LONG_BINGET
                b'h' => {
                    let slot = u32::from(self.byte()?);
                    self.recall(slot)?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.recall(slot)?;
                }
                // APPEND, APPENDS
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                // SETITEM, SETITEMS
                b's' => {
                    let start = self.height_for(2)?;
                    let items = self.stack.split_off(start);
                    self.set_items(&items)?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }
                // BINPERSID, REDUCE, BUILD
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.stack.push(storage);
                }
                b'R' => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    self.reduce(function, arguments)?;
                }
                b'b' => {
                    // Attributes of the dict, `_metadata` with versions of modules: nothing in it concerns weights.
                    self.pop()?;
                    if !matches!(self.top()?, Value::Dict(_)) {
                        return Err(self.malformed("BUILD wants a dict"));
                    }
                }
                b'.' => return self.pop(),
                code => return Err(PickleError::Opcode { code, offset: self.opcode_at }),
            }
        }
    }

    fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { offset: self.opcode_at, what }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or(PickleError::Truncated { offset: self.at })?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let offset = self.at;
        self.take(N)?.try_into().map_err(|_| PickleError::Truncated { offset })
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        self.array().map(|[byte]| byte)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, PickleError> {
        std::str::from_utf8(self.take(length)?).map_err(|_| self.malformed("a string is not UTF-8"))
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length =
            rest.iter().position(|&b| b == b'\n').ok_or(PickleError::Truncated { offset: self.bytes.len() })?;
        let text = self.text(length)?;
        self.at += 1;
        Ok(text)
    }

    /// Little-endian two's complement of up to 8 bytes.
    fn long1(&mut self) -> Result<i64, PickleError> {
        let length = usize::from(self.byte()?);
        let digits = self.take(length)?;
        let fill = if digits.last().is_some_and(|&top| top >= 0x80) { 0xff } else { 0 };
        let mut wide = [fill; 8];
        wide.get_mut(..length).ok_or(self.malformed("an integer of more than 64 bits"))?.copy_from_slice(digits);
        Ok(i64::from_le_bytes(wide))
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        let class = Class::find(module, name).ok_or_else(|| PickleError::Class {
            module: shorten(module),
            name: shorten(name),
            offset: self.opcode_at,
        })?;
        self.stack.push(Value::Class(class));
        Ok(())
    }

    /// Height of the stack without its top `count` values, which must lie above the last MARK.
    fn height_for(&self, count: usize) -> Result<usize, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let height = self.stack.len().checked_sub(count).filter(|&height| height >= floor);
        height.ok_or(self.malformed("the stack is too short"))
    }

    fn pop(&mut self) -> Result<Value<'a>, PickleError> {
        self.height_for(1)?;
        self.stack.pop().ok_or(self.malformed("the stack is empty"))
    }

    fn top(&self) -> Result<Value<'a>, PickleError> {
        self.height_for(1)?;
        self.stack.last().copied().ok_or(self.malformed("the stack is empty"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, PickleError> {
        let height = self.marks.pop().ok_or(self.malformed("no MARK is open"))?;
        // `height_for` keeps the stack at or above every open mark.
        Ok(self.stack.split_off(height.min(self.stack.len())))
    }

    fn push_tuple(&mut self, items: Vec<Value<'a>>) {
        self.stack.push(Value::Tuple(self.sequences.len()));
        self.sequences.push(items);
    }

    fn push_dict(&mut self) {
        self.stack.push(Value::Dict(self.dicts.len()));
        self.dicts.push(Vec::new());
    }

    fn memoize(&mut self, slot: u32) -> Result<(), PickleError> {
        let value = self.top()?;
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), PickleError> {
        let value = *self.memo.get(&slot).ok_or(self.malformed("an empty memo slot is read"))?;
        self.stack.push(value);
        Ok(())
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Result<(), PickleError> {
        let wanted = self.malformed("APPEND wants a list");
        let Value::List(list) = self.top()? else { return Err(wanted) };
        self.sequences.get_mut(list).ok_or(wanted)?.extend(items);
        Ok(())
    }

    fn set_items(&mut self, items: &[Value<'a>]) -> Result<(), PickleError> {
        let wanted = self.malformed("SETITEMS wants a dict and pairs");
        let Value::Dict(dict) = self.top()? else { return Err(wanted) };
        let (pairs, []) = items.as_chunks::<2>() else { return Err(wanted) };
        self.dicts.get_mut(dict).ok_or(wanted)?.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn tuple(&self, value: Value<'a>) -> Result<&[Value<'a>], PickleError> {
        match value {
            Value::Tuple(index) => self.sequences.get(index).map(Vec::as_slice),
            _ => None,
        }
        .ok_or(self.malformed("a tuple is wanted"))
    }

    fn size(&self, value: Value<'a>) -> Result<usize, PickleError> {
        match value {
            Value::Int(int) => usize::try_from(int).ok(),
            _ => None,
        }
        .ok_or(self.malformed("a size is wanted"))
    }

    fn sizes(&self, value: Value<'a>) -> Result<Vec<usize>, PickleError> {
        let tuple = self.tuple(value)?;
        // The memo can give one tuple to many tensors: a limit keeps the copies small.
        if tuple.len() > 8 {
            return Err(self.malformed("a tensor of more than 8 axes"));
        }
        tuple.iter().map(|&size| self.size(size)).collect()
    }

    /// `('storage', class, key, device, elements)`; the device is where it was trained.
    fn storage(&self, id: Value<'a>) -> Result<Value<'a>, PickleError> {
        match *self.tuple(id)? {
            [Value::Str("storage"), Value::Class(Class::Storage(dtype)), Value::Str(key), Value::Str(_), elements] => {
                Ok(Value::Storage { dtype, key, elements: self.size(elements)? })
            }
            _ => Err(self.malformed("a persistent id that is no storage")),
        }
    }

    fn reduce(&mut self, function: Value<'a>, arguments: Value<'a>) -> Result<(), PickleError> {
        let arguments = self.tuple(arguments)?;
        match (function, arguments) {
            (Value::Class(Class::OrderedDict), []) => self.push_dict(),
            (
                Value::Class(Class::RebuildTensor),
                &[Value::Storage { dtype, key, elements }, offset, shape, strides, ref rest @ ..],
            ) if rest.len() <= 3 => {
                let tensor = Tensor {
                    dtype,
                    key,
                    storage_elements: elements,
                    offset: self.size(offset)?,
                    shape: self.sizes(shape)?,
                    strides: self.sizes(strides)?,
                };
                self.stack.push(Value::Tensor(self.tensors.len()));
                self.tensors.push(tensor);
            }
            (Value::Class(Class::RebuildParameter), &[tensor @ Value::Tensor(_), ref rest @ ..]) if rest.len() <= 2 => {
                self.stack.push(tensor);
            }
            (Value::Class(_), _) => return Err(self.malformed("wrong arguments of an allowed function")),
            _ => return Err(self.malformed("REDUCE wants a function")),
        }
        Ok(())
    }

    pub(super) fn state_dict(&self, result: Value<'a>) -> Result<Vec<PickledTensor<'a>>, PickleError> {
        let not = |what: String| Err(PickleError::NotStateDict { what });
        let Value::Dict(dict) = result else { return not(format!("its top level is {}", result.kind())) };
        let pairs = self.dicts.get(dict).map(Vec::as_slice).unwrap_or_default();
        if pairs.len() > MAX_TENSORS {
            return not(format!("it has {} entries, at most {MAX_TENSORS} are read", pairs.len()));
        }
        let mut tensors = Vec::with_capacity(pairs.len());
        for &(key, value) in pairs {
            let Value::Str(name) = key else { return not(format!("a key is {}", key.kind())) };
            let tensor = match value {
                Value::Tensor(index) => self.tensors.get(index),
                Value::Dict(_) => return not(format!("key `{}` is itself a dict; save that one alone", shorten(name))),
                _ => None,
            };
            let Some(tensor) = tensor else { return not(format!("key `{}` is {}", shorten(name), value.kind())) };
            tensors.push(PickledTensor {
                name,
                dtype: tensor.dtype,
                storage: tensor.key,
                storage_elements: tensor.storage_elements,
                offset: tensor.offset,
                shape: tensor.shape.clone(),
                strides: tensor.strides.clone(),
            });
        }
        Ok(tensors)
    }
}
