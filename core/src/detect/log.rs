//! A logarithm that is the same everywhere.

/// log2 of a positive number in Q8, at most 1/64 off; 0 of 0.
pub(super) const fn log2(v: u32) -> i32 {
    if v == 0 {
        return 0;
    }
    let e = 31 - v.leading_zeros();
    // Eight bits behind the leading one; log2(1 + f) is f and a parabola.
    let f = (if e >= 8 { v >> (e - 8) } else { v << (8 - e) }) & 255;
    (e * 256 + f + ((f * (256 - f) * 11) >> 13)) as i32
}

#[cfg(test)]
mod tests {
    use super::log2;

    #[test]
    fn close_to_the_logarithm_and_monotone() {
        let mut last = 0;
        for v in (1..70_000).chain((1..1000).map(|i| u32::MAX / i).rev()) {
            let exact = f64::from(v).log2() * 256.0;
            assert!((f64::from(log2(v)) - exact).abs() < 5.0, "{v}");
            assert!(log2(v) >= last || v < 70_000, "{v}");
            last = log2(v);
        }
        assert!((1..70_000).all(|v| log2(v) <= log2(v + 1)));
    }
}
