//! The opcodes of protocols 2 to 5, as `pickletools` names them.

use super::machine::{Machine, Scalar, Value};
use super::outcome::PickleError;

impl Machine<'_> {
    /// Runs the program up to its STOP.
    pub(super) fn run(&mut self) -> Result<Value, PickleError> {
        loop {
            self.opcode_at = self.at;
            match self.byte()? {
                // STOP
                b'.' => return self.pop(),
                // PROTO, FRAME
                0x80 => match self.byte()? {
                    2..=5 => {}
                    found => return Err(PickleError::Protocol { found }),
                },
                0x95 => drop(self.take(8)?),
                code => {
                    self.constant(code).unwrap_or_else(|| self.container(code).unwrap_or_else(|| self.object(code)))?
                }
            }
        }
    }

    /// Opcodes that push something of the program; `None` for another one.
    fn constant(&mut self, code: u8) -> Option<Result<(), PickleError>> {
        let value = match code {
            // NONE, NEWTRUE, NEWFALSE
            b'N' => Ok(Value::None),
            0x88 | 0x89 => Ok(Value::Bool),
            // BININT, BININT1, BININT2, LONG1, LONG4
            b'J' => self.array().map(|int| Value::Int(i64::from(i32::from_le_bytes(int)))),
            b'K' => self.byte().map(|int| Value::Int(i64::from(int))),
            b'M' => self.array().map(|int| Value::Int(i64::from(u16::from_le_bytes(int)))),
            0x8a => self.long1(),
            0x8b => self.length4().and_then(|length| self.take(length)).map(|_| Value::Scalar(Scalar::LargeInteger)),
            // BINFLOAT
            b'G' => self.array::<8>().map(|_| Value::Scalar(Scalar::Float)),
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.byte().and_then(|length| self.text(usize::from(length))),
            b'X' => self.length4().and_then(|length| self.text(length)),
            0x8d => self.length8().and_then(|length| self.text(length)),
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => self.byte().and_then(|length| self.skip(usize::from(length))),
            b'B' => self.length4().and_then(|length| self.skip(length)),
            0x8e | 0x96 => self.length8().and_then(|length| self.skip(length)),
            // EMPTY_LIST, EMPTY_SET
            b']' | 0x8f => Ok(Value::List),
            _ => return None,
        };
        Some(value.and_then(|value| self.push(value)))
    }

    /// Opcodes that move values about; `None` for another one.
    fn container(&mut self, code: u8) -> Option<Result<(), PickleError>> {
        Some(match code {
            // MARK, POP, POP_MARK, DUP
            b'(' => self.mark(),
            b'0' => self.pop().map(drop),
            b'1' => self.close_mark().map(|count| self.stack.truncate(self.stack.len() - count)),
            b'2' => self.top().and_then(|top| self.push(top)),
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.tuple_of(0),
            0x85..=0x87 => self.tuple_of(usize::from(code - 0x84)),
            b't' => self.close_mark().and_then(|count| self.tuple_of(count)),
            // FROZENSET
            0x91 => {
                let closed = self.close_mark().map(|count| self.stack.truncate(self.stack.len() - count));
                closed.and_then(|()| self.push(Value::List))
            }
            // EMPTY_DICT, SETITEM, SETITEMS
            b'}' => self.push_dict(),
            b's' => self.set_items(2),
            b'u' => self.close_mark().and_then(|count| self.set_items(count)),
            // APPEND, APPENDS, ADDITEMS
            b'a' => self.append(1),
            b'e' | 0x90 => self.close_mark().and_then(|count| self.append(count)),
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => self.byte().and_then(|slot| self.memoize(u32::from(slot))),
            b'r' => self.array().and_then(|slot| self.memoize(u32::from_le_bytes(slot))),
            0x94 => self.memoize(self.memo_len()),
            // BINGET, LONG_BINGET
            b'h' => self.byte().and_then(|slot| self.recall(u32::from(slot))),
            b'j' => self.array().and_then(|slot| self.recall(u32::from_le_bytes(slot))),
            _ => return None,
        })
    }

    /// Opcodes that import and call.
    fn object(&mut self, code: u8) -> Result<(), PickleError> {
        match code {
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Str(name), Value::Str(module)) => self.global(module, name),
                _ => Err(self.malformed("STACK_GLOBAL wants two strings")),
            },
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                self.storage(id)
            }
            // REDUCE, NEWOBJ, NEWOBJ_EX
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.reduce(function, arguments)
            }
            0x92 => {
                let (_named, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                self.reduce(function, arguments)
            }
            // BUILD: attributes. Of a dict, `_metadata` with versions of modules: nothing in it concerns weights.
            b'b' => {
                self.pop()?;
                match self.top()? {
                    Value::Dict(_) | Value::Object(_) => Ok(()),
                    _ => Err(self.malformed("BUILD wants a dict or an object")),
                }
            }
            code => Err(PickleError::Opcode { code, offset: self.opcode_at }),
        }
    }

    fn length4(&mut self) -> Result<usize, PickleError> {
        self.array().map(|length| u32::from_le_bytes(length) as usize)
    }

    /// A length beyond the end of the program, as every one of more than 32 bits is, is found by who reads so much.
    fn length8(&mut self) -> Result<usize, PickleError> {
        self.array().map(|length| usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
    }

    fn skip(&mut self, length: usize) -> Result<Value, PickleError> {
        self.take(length).map(|_| Value::Scalar(Scalar::Bytes))
    }

    /// Little-endian two's complement; of more than 8 bytes only that it is there.
    fn long1(&mut self) -> Result<Value, PickleError> {
        let length = usize::from(self.byte()?);
        let digits = self.take(length)?.of(self.bytes);
        let fill = if digits.last().is_some_and(|&top| top >= 0x80) { 0xff } else { 0 };
        let mut wide = [fill; 8];
        match wide.get_mut(..length) {
            Some(low) => low.copy_from_slice(digits),
            None => return Ok(Value::Scalar(Scalar::LargeInteger)),
        }
        Ok(Value::Int(i64::from_le_bytes(wide)))
    }
}
