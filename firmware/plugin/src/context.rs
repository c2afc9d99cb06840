//! Call contexts: which chain of calls an instruction was executed in.
//!
//! A stack of return addresses follows the program. A block that ends with a call leaves the address after it as the
//! expected return; a block that starts at the expected return of the innermost call ends that call. A tail call
//! changes nothing: its function returns to where the caller would have. Recursion needs nothing more: a function does
//! not run the code after a call of itself before that call returns.

use std::collections::HashMap;

/// The function that holds the begin marker.
pub(crate) const ROOT: usize = 0;

/// One context: where it was called from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// The context of the caller.
    pub(crate) caller: usize,
    /// Where the call returns to.
    pub(crate) returns_to: u64,
}

/// All contexts that were seen, and the present one.
#[derive(Debug)]
pub(crate) struct Contexts {
    /// By number; the first is [`ROOT`], whose fields mean nothing.
    all: Vec<Context>,
    numbers: HashMap<(usize, u64), usize>,
    present: usize,
    /// The last block ended with a call, and expects this return.
    called: Option<u64>,
}

impl Contexts {
    pub(crate) fn new() -> Self {
        let root = Context { caller: ROOT, returns_to: 0 };
        Self { all: vec![root], numbers: HashMap::new(), present: ROOT, called: None }
    }

    /// A block at `address` starts. It ends with a call if `call` holds the address after it. Returns its context.
    pub(crate) fn enter(&mut self, address: u64, call: Option<u64>) -> usize {
        match self.called {
            // The second case is a conditional call that was not made.
            Some(returns_to) if returns_to != address => {
                let next = self.all.len();
                let caller = self.present;
                self.present = *self.numbers.entry((caller, returns_to)).or_insert(next);
                if self.present == next {
                    self.all.push(Context { caller, returns_to });
                }
            }
            Some(_) => {}
            None => {
                // The innermost call as a rule. A call instruction that serves as a long branch (Armv6-M has no other)
                // opens a context that no return ends; the return of the call around it ends both.
                let mut context = self.present;
                while context != ROOT {
                    if self.all[context].returns_to == address {
                        self.present = self.all[context].caller;
                        break;
                    }
                    context = self.all[context].caller;
                }
            }
        }
        self.called = call;
        self.present
    }

    /// Forgets where the program is; returns whether it was in the function that it began in.
    pub(crate) fn leave(&mut self) -> bool {
        let balanced = self.present == ROOT;
        self.present = ROOT;
        self.called = None;
        balanced
    }

    /// All but [`ROOT`], with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Context)> {
        self.all.iter().copied().enumerate().skip(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_returns_and_tail_calls() {
        let mut contexts = Contexts::new();
        assert_eq!(contexts.enter(100, Some(110)), ROOT);
        let first = contexts.enter(200, Some(210));
        assert_ne!(first, ROOT);
        let second = contexts.enter(300, None);
        assert_eq!(contexts.enter(400, None), second, "tail call");
        assert_eq!(contexts.enter(210, None), first);
        assert_eq!(contexts.enter(110, Some(120)), ROOT);
        let other = contexts.enter(200, None);
        assert_ne!(other, first, "the same function from another place");
        assert_eq!(contexts.enter(120, None), ROOT);
        assert_eq!(contexts.enter(100, Some(110)), ROOT);
        assert_eq!(contexts.enter(200, None), first, "the same place again");
        assert!(!contexts.leave());
        assert_eq!(contexts.enter(100, Some(110)), ROOT);
        assert_eq!(contexts.enter(110, None), ROOT, "a conditional call that was not made");
        assert!(contexts.leave());
        let all: Vec<_> = contexts.iter().map(|(n, c)| (n, c.caller, c.returns_to)).collect();
        assert_eq!(all, [(1, 0, 110), (2, 1, 210), (3, 0, 120)]);
    }

    #[test]
    fn recursion() {
        let mut contexts = Contexts::new();
        contexts.enter(100, Some(110));
        let outer = contexts.enter(200, Some(210));
        let inner = contexts.enter(200, Some(210));
        let innermost = contexts.enter(200, None);
        assert_eq!(contexts.enter(210, None), inner);
        assert_eq!(contexts.enter(210, None), outer);
        assert_eq!(contexts.enter(110, None), ROOT);
        assert_ne!(inner, innermost);
    }
}
