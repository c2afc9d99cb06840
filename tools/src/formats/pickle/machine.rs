//! The stack machine behind [`parse_pickle`](super::parse_pickle): values, memory and what opcodes do with them.
//!
//! A value is 16 bytes and copied; text, tuples and pairs are ranges of the program or of an arena. So the memo shares
//! instead of copying (no billion laughs), a deep nesting costs no recursion, and every arena has a limit that no
//! checkpoint reaches. Long text is no name of anything and is not looked at: what an opcode costs has a limit too.

use super::outcome::PickleError;
use crate::formats::shorten::shorten;
use crate::formats::tensor::Dtype;

/// Most values on the stack; picklers write batches of a thousand.
const MAX_STACK: usize = 1 << 17;
/// Most memo entries; a tensor takes about ten, and the deepest accepted model has 12,292 tensors and twice as many
/// moments.
const MAX_MEMO: usize = 1 << 19;
/// Most values in tuples; a tensor takes about twenty.
const MAX_ITEMS: usize = 1 << 20;
/// Most entries of dicts.
const MAX_PAIRS: usize = 1 << 17;
/// Most tensors, storages and mentions of classes, each.
const MAX_OBJECTS: usize = 1 << 17;
/// Longest text that is kept: names of tensors, storages, modules and classes.
const MAX_TEXT: usize = 1 << 10;

/// Storages of other types than floats.
const OTHERS: [&str; 8] = [
    "LongStorage",
    "IntStorage",
    "ShortStorage",
    "CharStorage",
    "ByteStorage",
    "BoolStorage",
    "ComplexFloatStorage",
    "ComplexDoubleStorage",
];

/// Elements of a storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stored {
    Float(Dtype),
    /// Of another type: its class in [`OTHERS`].
    Other(u8),
}

/// The class of a storage that is not of floats.
pub(super) fn other(index: u8) -> &'static str {
    OTHERS.get(index as usize).copied().unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Stored),
    /// Index into the mentions.
    Unknown(u32),
}

impl Class {
    fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Class::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Class::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Class::RebuildParameter,
            ("torch", "FloatStorage") => Class::Storage(Stored::Float(Dtype::F32)),
            ("torch", "HalfStorage") => Class::Storage(Stored::Float(Dtype::F16)),
            ("torch", "BFloat16Storage") => Class::Storage(Stored::Float(Dtype::Bf16)),
            ("torch", "DoubleStorage") => Class::Storage(Stored::Float(Dtype::F64)),
            ("torch", _) => Class::Storage(Stored::Other(OTHERS.iter().position(|other| *other == name)? as u8)),
            _ => return None,
        })
    }
}

/// `start..start + len` of the program or of an arena; both are shorter than 4 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Range {
    start: u32,
    len: u32,
}

impl Range {
    pub(super) fn of<T>(self, arena: &[T]) -> &[T] {
        arena.get(self.start as usize..).and_then(|rest| rest.get(..self.len as usize)).unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    /// Of the program; valid UTF-8.
    Str(Range),
    Class(Class),
    Storage(u32),
    /// Of the items.
    Tuple(Range),
    /// Contents of lists and sets are not kept: no state dict needs them.
    List,
    Dict(u32),
    Tensor(u32),
    /// What an unknown class would have made: index into the mentions.
    Object(u32),
    /// Something that is not kept.
    Scalar(Scalar),
}

/// What is not kept.
#[derive(Clone, Copy)]
pub(super) enum Scalar {
    Float,
    Bytes,
    LargeInteger,
    LongText,
}

const _: () = assert!(size_of::<Value>() == 16);

impl Value {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool => "a bool",
            Value::Int(_) => "an integer",
            Value::Str(_) => "a string",
            Value::Class(_) => "a class",
            Value::Storage(_) => "a storage",
            Value::Tuple(_) => "a tuple",
            Value::List => "a list",
            Value::Dict(_) => "a dict",
            Value::Tensor(_) => "a tensor",
            Value::Object(_) => "an object",
            Value::Scalar(Scalar::Float) => "a float",
            Value::Scalar(Scalar::Bytes) => "bytes",
            Value::Scalar(Scalar::LargeInteger) => "a large integer",
            Value::Scalar(Scalar::LongText) => "a long string",
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Storage {
    pub(super) stored: Stored,
    pub(super) key: Range,
    pub(super) elements: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Tensor {
    pub(super) storage: u32,
    pub(super) offset: usize,
    /// Of the items, as are the strides: at most 8, all sizes.
    pub(super) shape: Range,
    pub(super) strides: Range,
}

/// Where the program names a class that is not known.
#[derive(Clone, Copy)]
pub(super) struct Mention {
    module: Range,
    name: Range,
    offset: u32,
}

/// An entry of a dict: all dicts' entries lie in one arena, in the order that they came.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub(super) dict: u32,
    pub(super) key: Value,
    pub(super) value: Value,
}

pub(super) struct Machine<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Position of the opcode in progress, for errors.
    pub(super) opcode_at: usize,
    pub(super) stack: Vec<Value>,
    /// Heights of the stack at each open MARK.
    marks: Vec<u32>,
    memo: Vec<Value>,
    pub(super) items: Vec<Value>,
    dicts: u32,
    pub(super) pairs: Vec<Pair>,
    pub(super) storages: Vec<Storage>,
    pub(super) tensors: Vec<Tensor>,
    pub(super) mentions: Vec<Mention>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            opcode_at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            items: Vec::new(),
            dicts: 0,
            pairs: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
            mentions: Vec::new(),
        }
    }

    pub(super) fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { offset: self.opcode_at, what }
    }

    /// The text of a range of the program.
    pub(super) fn str(&self, range: Range) -> &'a str {
        std::str::from_utf8(range.of(self.bytes)).unwrap_or_default()
    }

    /// The refusal of what a class that is not known would have made.
    pub(super) fn refused(&self, mention: u32) -> PickleError {
        match self.mentions.get(mention as usize) {
            Some(&Mention { module, name, offset }) => PickleError::Class {
                module: shorten(self.str(module)),
                name: shorten(self.str(name)),
                offset: offset as usize,
            },
            None => self.malformed("an object of no class"),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<Range, PickleError> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(PickleError::Truncated { offset: self.at })?;
        let range = Range { start: self.at as u32, len: count as u32 };
        self.at = end;
        Ok(range)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let offset = self.at;
        self.take(N)?.of(self.bytes).try_into().map_err(|_| PickleError::Truncated { offset })
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        self.array().map(|[byte]| byte)
    }

    /// Text, or that it is longer than any name.
    pub(super) fn text(&mut self, length: usize) -> Result<Value, PickleError> {
        let range = self.take(length)?;
        if length > MAX_TEXT {
            return Ok(Value::Scalar(Scalar::LongText));
        }
        match std::str::from_utf8(range.of(self.bytes)) {
            Ok(_) => Ok(Value::Str(range)),
            Err(_) => Err(self.malformed("a string is not UTF-8")),
        }
    }

    /// Up to a line feed, which is skipped.
    pub(super) fn line(&mut self) -> Result<Range, PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let near = rest.get(..=MAX_TEXT).unwrap_or(rest);
        let length = near.iter().position(|&b| b == b'\n').ok_or(if rest.len() > MAX_TEXT {
            self.malformed("a name is too long")
        } else {
            PickleError::Truncated { offset: self.bytes.len() }
        })?;
        let text = self.text(length)?;
        self.at += 1;
        match text {
            Value::Str(range) => Ok(range),
            _ => Err(self.malformed("a name is too long")),
        }
    }

    pub(super) fn push(&mut self, value: Value) -> Result<(), PickleError> {
        self.limit(self.stack.len(), MAX_STACK, "values on its stack")?;
        self.stack.push(value);
        Ok(())
    }

    fn limit(&self, have: usize, most: usize, what: &'static str) -> Result<(), PickleError> {
        if have < most { Ok(()) } else { Err(PickleError::TooMany { offset: self.opcode_at, what, most }) }
    }

    pub(super) fn global(&mut self, module: Range, name: Range) -> Result<(), PickleError> {
        let class = match Class::find(self.str(module), self.str(name)) {
            Some(class) => class,
            None => {
                self.limit(self.mentions.len(), MAX_OBJECTS, "classes")?;
                self.mentions.push(Mention { module, name, offset: self.opcode_at as u32 });
                Class::Unknown(self.mentions.len() as u32 - 1)
            }
        };
        self.push(Value::Class(class))
    }

    pub(super) fn mark(&mut self) -> Result<(), PickleError> {
        self.limit(self.marks.len(), MAX_STACK, "open marks")?;
        self.marks.push(self.stack.len() as u32);
        Ok(())
    }

    /// Height of the stack without its top `count` values, which must lie above the last MARK.
    fn height_for(&self, count: usize) -> Result<usize, PickleError> {
        let floor = self.marks.last().map_or(0, |&mark| mark as usize);
        let height = self.stack.len().checked_sub(count).filter(|&height| height >= floor);
        height.ok_or(self.malformed("the stack is too short"))
    }

    pub(super) fn pop(&mut self) -> Result<Value, PickleError> {
        self.height_for(1)?;
        self.stack.pop().ok_or(self.malformed("the stack is empty"))
    }

    pub(super) fn top(&self) -> Result<Value, PickleError> {
        self.height_for(1)?;
        self.stack.last().copied().ok_or(self.malformed("the stack is empty"))
    }

    /// Closes the last MARK and says how many values lie above it.
    pub(super) fn close_mark(&mut self) -> Result<usize, PickleError> {
        let height = self.marks.pop().ok_or(self.malformed("no MARK is open"))?;
        // `height_for` keeps the stack at or above every open mark.
        Ok(self.stack.len().saturating_sub(height as usize))
    }

    /// The top `count` values become a tuple.
    pub(super) fn tuple_of(&mut self, count: usize) -> Result<(), PickleError> {
        let start = self.height_for(count)?;
        self.limit(self.items.len() + count, MAX_ITEMS, "values in tuples")?;
        let tuple = Range { start: self.items.len() as u32, len: count as u32 };
        self.items.extend(self.stack.drain(start..));
        self.push(Value::Tuple(tuple))
    }

    pub(super) fn push_dict(&mut self) -> Result<(), PickleError> {
        self.dicts = self.dicts.saturating_add(1);
        self.push(Value::Dict(self.dicts))
    }

    /// Picklers number memo slots as they come.
    pub(super) fn memoize(&mut self, slot: u32) -> Result<(), PickleError> {
        let value = self.top()?;
        let slot = slot as usize;
        if slot == self.memo.len() {
            self.limit(slot, MAX_MEMO, "memo entries")?;
            self.memo.push(value);
            return Ok(());
        }
        let place = self.memo.get_mut(slot);
        *place.ok_or(PickleError::Malformed { offset: self.opcode_at, what: "a memo slot out of turn" })? = value;
        Ok(())
    }

    pub(super) fn memo_len(&self) -> u32 {
        self.memo.len() as u32
    }

    pub(super) fn recall(&mut self, slot: u32) -> Result<(), PickleError> {
        let value = *self.memo.get(slot as usize).ok_or(self.malformed("an empty memo slot is read"))?;
        self.push(value)
    }

    /// Drops the top `count` values, which a list, a set or an unknown object takes.
    pub(super) fn append(&mut self, count: usize) -> Result<(), PickleError> {
        let start = self.height_for(count)?;
        self.stack.truncate(start);
        match self.top()? {
            Value::List | Value::Object(_) => Ok(()),
            _ => Err(self.malformed("APPEND wants a list")),
        }
    }

    /// The top `count` values are pairs for the dict below them.
    pub(super) fn set_items(&mut self, count: usize) -> Result<(), PickleError> {
        let start = self.height_for(count)?;
        let below = start.checked_sub(1).and_then(|below| self.stack.get(below)).copied();
        let wanted = self.malformed("SETITEMS wants a dict and pairs");
        let values = self.stack.get(start..).unwrap_or_default();
        match (below, values.as_chunks::<2>()) {
            (Some(Value::Object(_)), (_, [])) => {}
            (Some(Value::Dict(dict)), (pairs, [])) => {
                self.limit(self.pairs.len() + pairs.len(), MAX_PAIRS, "entries of dicts")?;
                self.pairs.extend(pairs.iter().map(|&[key, value]| Pair { dict, key, value }));
            }
            _ => return Err(wanted),
        }
        self.stack.truncate(start);
        self.height_for(1).map(drop)
    }

    fn tuple(&self, value: Value) -> Result<Range, PickleError> {
        match value {
            Value::Tuple(range) => Ok(range),
            _ => Err(self.malformed("a tuple is wanted")),
        }
    }

    fn size(&self, value: Value) -> Result<usize, PickleError> {
        match value {
            Value::Int(int) => usize::try_from(int).ok(),
            _ => None,
        }
        .ok_or(self.malformed("a size is wanted"))
    }

    /// A tuple of at most 8 sizes.
    fn sizes(&self, value: Value) -> Result<Range, PickleError> {
        let range = self.tuple(value)?;
        // The memo can give one tuple to many tensors: a limit keeps what becomes of them small.
        if range.len > 8 {
            return Err(self.malformed("a tensor of more than 8 axes"));
        }
        range.of(&self.items).iter().try_for_each(|&size| self.size(size).map(drop))?;
        Ok(range)
    }

    /// `('storage', class, key, device, elements)`; the device is where it was trained.
    pub(super) fn storage(&mut self, id: Value) -> Result<(), PickleError> {
        match *self.tuple(id)?.of(&self.items) {
            [Value::Str(tag), Value::Class(class), Value::Str(key), Value::Str(_), elements]
                if self.str(tag) == "storage" =>
            {
                let stored = match class {
                    Class::Storage(stored) => stored,
                    Class::Unknown(mention) => return self.push(Value::Object(mention)),
                    _ => return Err(self.malformed("a storage of no storage class")),
                };
                let elements = self.size(elements)?;
                self.limit(self.storages.len(), MAX_OBJECTS, "storages")?;
                self.storages.push(Storage { stored, key, elements });
                self.push(Value::Storage(self.storages.len() as u32 - 1))
            }
            _ => Err(self.malformed("a persistent id that is no storage")),
        }
    }

    /// A call that rebuilds a tensor, or makes an opaque object of an unknown class.
    pub(super) fn reduce(&mut self, function: Value, arguments: Value) -> Result<(), PickleError> {
        let tuple = match (function, arguments) {
            (Value::Class(Class::Unknown(mention)) | Value::Object(mention), _) => {
                return self.push(Value::Object(mention));
            }
            _ => self.tuple(arguments)?,
        };
        match (function, tuple.of(&self.items)) {
            (Value::Class(Class::OrderedDict), []) => self.push_dict(),
            // Of something that is not read, nothing can be rebuilt.
            (Value::Class(Class::RebuildTensor | Class::RebuildParameter), &[Value::Object(mention), ..]) => {
                self.push(Value::Object(mention))
            }
            (Value::Class(Class::RebuildTensor), &[Value::Storage(storage), offset, shape, strides, ref rest @ ..])
                if rest.len() <= 3 =>
            {
                let tensor = Tensor {
                    storage,
                    offset: self.size(offset)?,
                    shape: self.sizes(shape)?,
                    strides: self.sizes(strides)?,
                };
                self.limit(self.tensors.len(), MAX_OBJECTS, "tensors")?;
                self.tensors.push(tensor);
                self.push(Value::Tensor(self.tensors.len() as u32 - 1))
            }
            (Value::Class(Class::RebuildParameter), &[tensor @ Value::Tensor(_), ref rest @ ..]) if rest.len() <= 3 => {
                self.push(tensor)
            }
            (Value::Class(_), _) => Err(self.malformed("wrong arguments of an allowed function")),
            _ => Err(self.malformed("REDUCE wants a function")),
        }
    }

    /// The sizes of a tuple that [`Self::sizes`] has seen.
    pub(super) fn sizes_of(&self, range: Range) -> Vec<usize> {
        range.of(&self.items).iter().map(|&size| self.size(size).unwrap_or_default()).collect()
    }
}
