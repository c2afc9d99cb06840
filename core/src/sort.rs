//! Sorting without a panic.
//!
//! The sorts of the standard library stop the program if an order contradicts itself; a program that has to be free of
//! panics cannot link them. At most 256 elements are sorted here.

/// Sorts in place; equal elements may change places. Shell's sort: no recursion, no memory.
///
/// An order that contradicts itself leaves the elements in some order, none lost.
pub(crate) fn sort<T: Copy>(items: &mut [T], before: impl Fn(T, T) -> bool) {
    for gap in [132, 57, 23, 10, 4, 1] {
        for start in gap..items.len() {
            let Some(&item) = items.get(start) else { return crate::cannot::never("an index in the heap", ()) };
            let mut at = start;
            while let Some(previous) = at.checked_sub(gap) {
                match items.get(previous) {
                    Some(&other) if before(item, other) => put(items, at, other),
                    _ => break,
                }
                at = previous;
            }
            put(items, at, item);
        }
    }
}

fn put<T>(items: &mut [T], at: usize, item: T) {
    if let Some(slot) = items.get_mut(at) {
        *slot = item;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use std::vec::Vec;

    #[test]
    fn all_lengths_as_the_standard_library() {
        let mut rng = Rng::new(1);
        for len in 0..=300 {
            for few in [2, 16, u64::MAX] {
                let mut items: Vec<u64> = (0..len).map(|_| rng.next_u64() % few).collect();
                let mut expected = items.clone();
                expected.sort_unstable();
                sort(&mut items, |a, b| a < b);
                assert_eq!(items, expected);
                sort(&mut items, |a, b| a > b);
                expected.reverse();
                assert_eq!(items, expected);
            }
        }
    }
}
