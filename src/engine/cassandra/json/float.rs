//! Floats as `Double.toString` and `Float.toString` of Java up to 18 write them, which Cassandra runs on.
//!
//! Java finds digits one by one until what is left lies within half a unit of the last place. It does not always stop at
//! the shortest text (2.0E-3 has a second digit by decree, and then the interval is tested again), so the same steps
//! are taken here, in the same integer widths, rather than those of a better algorithm.

use std::fmt::Write;

use num_bigint::BigUint;

/// Digits `d₁d₂d₃…` of the number 0.d₁d₂d₃… times ten to the power of `exponent`.
struct Decimal {
    digits: Vec<u8>,
    exponent: i32,
}

/// Appends a double; what is no number is null.
pub(super) fn double(out: &mut String, value: f64) {
    if !value.is_finite() {
        return out.push_str("null");
    }
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = (bits >> 52 & 0x7ff) as i32;
    write(out, value.is_sign_negative(), fraction, exponent - 1023, exponent == 0, 53);
}

/// Appends a float; what is no number is null.
pub(super) fn float(out: &mut String, value: f32) {
    if !value.is_finite() {
        return out.push_str("null");
    }
    let bits = value.to_bits();
    let fraction = u64::from(bits & ((1 << 23) - 1)) << 29;
    let exponent = (bits >> 23 & 0xff) as i32;
    write(out, value.is_sign_negative(), fraction, exponent - 127, exponent == 0, 24);
}

/// `fraction` without the leading bit, of 52 bits; `significant` as many bits as the type has.
fn write(out: &mut String, negative: bool, fraction: u64, exponent: i32, subnormal: bool, significant: i32) {
    if negative {
        out.push('-');
    }
    if subnormal && fraction == 0 {
        return out.push_str("0.0");
    }
    let decimal = if subnormal {
        let shift = fraction.leading_zeros() as i32 - 11;
        convert(fraction << shift, exponent + 1 - shift, significant - shift)
    } else {
        convert(fraction | 1 << 52, exponent, significant)
    };
    place(out, &decimal);
}

/// Plain from 0.001 to 9999999, otherwise with an exponent; at least one digit on both sides of the point.
fn place(out: &mut String, decimal: &Decimal) {
    let Decimal { digits, exponent } = decimal;
    let mut push = |digits: &[u8]| {
        out.push_str(if digits.is_empty() { "0" } else { "" });
        out.extend(digits.iter().map(|d| (b'0' + d) as char));
    };
    match *exponent {
        e @ 1..=7 => {
            let whole = digits.len().min(e as usize);
            push(&digits[..whole]);
            (whole..e as usize).for_each(|_| push(&[0]));
            out.push('.');
            push_digits(out, &digits[whole..]);
        }
        e @ -2..=0 => {
            out.push_str("0.");
            (e..0).for_each(|_| out.push('0'));
            push_digits(out, digits);
        }
        e => {
            push(&digits[..1]);
            out.push('.');
            push_digits(out, &digits[1..]);
            let _ = write!(out, "E{}", e - 1);
        }
    }
}

fn push_digits(out: &mut String, digits: &[u8]) {
    if digits.is_empty() {
        out.push('0');
    }
    out.extend(digits.iter().map(|d| (b'0' + d) as char));
}

/// Bits of 5 to the power of n, 0 for n = 0; three for each power where a long does not hold it.
fn bits_of_five(n: i32) -> i32 {
    match n {
        0 => 0,
        1..=26 => 64 - 5_u64.pow(n as u32).leading_zeros() as i32,
        _ => 3 * n,
    }
}

/// The number is `fraction` (leading bit at 52) times two to the power of `exponent - 52`.
fn convert(fraction: u64, exponent: i32, significant: i32) -> Decimal {
    let trailing = fraction.trailing_zeros() as i32;
    let bits = 53 - trailing;
    let below_point = (bits - exponent - 1).max(0);
    if below_point == 0 && exponent <= 62 && bits < 64 {
        return whole(fraction, exponent, significant);
    }
    let ten = estimate(fraction, exponent);
    // value = b/s and half a unit of the last place = m/s, each a power of five, shifted.
    let (b5, s5) = ((-ten).max(0), ten.max(0));
    let mut b2 = b5 + below_point + exponent;
    let mut s2 = s5 + below_point;
    let mut m2 = b2 - significant;
    b2 -= bits - 1;
    let common = b2.min(s2);
    (b2, s2, m2) = (b2 - common, s2 - common, m2 - common);
    if bits == 1 {
        m2 -= 1;
    }
    if m2 < 0 {
        (b2, s2, m2) = (b2 - m2, s2 - m2, 0);
    }
    let scaled = Scaled { fraction: fraction >> trailing, b5, b2, s5, s2, m2 };
    let b_bits = bits + b2 + bits_of_five(b5);
    let s_bits = s2 + 1 + bits_of_five(s5 + 1);
    if b_bits < 32 && s_bits < 32 {
        scaled.narrow(ten, |n| n as i32 as i64)
    } else if b_bits < 64 && s_bits < 64 {
        scaled.narrow(ten, |n| n)
    } else {
        scaled.wide(ten)
    }
}

/// Whole numbers up to 2⁶³: exact, but digits that the type cannot tell apart are rounded off.
fn whole(fraction: u64, exponent: i32, significant: i32) -> Decimal {
    let mut value = if exponent >= 52 { fraction << (exponent - 52) } else { fraction >> (52 - exponent) };
    let mut trailing = 0;
    let spare = exponent - significant - 1;
    if exponent > significant && spare > 1 {
        trailing = (f64::from(spare) * std::f64::consts::LOG10_2) as u32;
        let unit = 10_u64.pow(trailing);
        value = value / unit + u64::from(value % unit >= unit / 2 && trailing > 0);
    }
    let mut digits: Vec<u8> = value.to_string().bytes().map(|b| b - b'0').collect();
    let exponent = digits.len() as i32 + trailing as i32;
    while digits.last() == Some(&0) {
        digits.pop();
    }
    Decimal { digits, exponent }
}

/// The power of ten at or next to the number, from its logarithm as a straight line.
fn estimate(fraction: u64, exponent: i32) -> i32 {
    let one_to_two = f64::from_bits(1023 << 52 | fraction & ((1 << 52) - 1));
    // Java's constants, to their last digit: of the logarithm of 2 it has fifteen.
    let log_of_two = 301_029_995_663_981.0 / 1e15;
    let log = (one_to_two - 1.5) * 0.289529654 + 0.176091259 + f64::from(exponent) * log_of_two;
    log.floor() as i32
}

struct Scaled {
    fraction: u64,
    b5: i32,
    b2: i32,
    s5: i32,
    s2: i32,
    m2: i32,
}

impl Scaled {
    /// In machine words, `wrap` cutting results to their width as Java's types do.
    fn narrow(&self, ten: i32, wrap: fn(i64) -> i64) -> Decimal {
        let five = |n: i32| 5_i64.wrapping_pow(n as u32);
        let mut b = wrap((self.fraction as i64).wrapping_mul(five(self.b5)) << self.b2);
        let s = wrap(five(self.s5) << self.s2);
        let mut m = wrap(five(self.b5) << self.m2);
        let tens = wrap(s * 10);
        let mut next = || {
            let digit = b / s;
            b = wrap(10_i64.wrapping_mul(b % s));
            m = wrap(m.wrapping_mul(10));
            // A product too large for its type has the unit pass everything.
            let (low, high) = if m > 0 { (b < m, wrap(b.wrapping_add(m)) > tens) } else { (true, true) };
            (digit as u8, low, high, wrap((b << 1).wrapping_sub(tens)).cmp(&0))
        };
        develop(ten, &mut next)
    }

    /// In as many words as it takes.
    fn wide(&self, ten: i32) -> Decimal {
        let five = |n: i32| BigUint::from(5_u8).pow(n as u32);
        let mut b = (BigUint::from(self.fraction) * five(self.b5)) << self.b2;
        let s = five(self.s5) << self.s2;
        let mut m = five(self.b5) << self.m2;
        let tens = &s * 10_u8;
        let mut next = || {
            let digit = &b / &s;
            b = (&b - &digit * &s) * 10_u8;
            m *= 10_u8;
            let digit = digit.to_u64_digits().first().copied().unwrap_or(0) as u8;
            (digit, b < m, &b + &m >= tens, (&b << 1_u8).cmp(&tens))
        };
        develop(ten, &mut next)
    }
}

/// A digit; whether what is left lies within half a unit of it, or of the next one up; which of them is nearer.
type Step = (u8, bool, bool, std::cmp::Ordering);

fn develop(ten: i32, next: &mut dyn FnMut() -> Step) -> Decimal {
    let mut exponent = ten;
    let mut digits = Vec::with_capacity(18);
    let (digit, mut low, mut high, mut nearer) = next();
    if digit == 0 && !high {
        exponent -= 1;
    } else {
        digits.push(digit);
    }
    if !(-3..8).contains(&exponent) {
        (low, high) = (false, false);
    }
    while !low && !high {
        let digit;
        (digit, low, high, nearer) = next();
        digits.push(digit);
    }
    let odd = digits.last().is_some_and(|d| d % 2 == 1);
    let up = high && (!low || nearer.is_gt() || (nearer.is_eq() && odd));
    exponent += 1;
    if up {
        round_up(&mut digits, &mut exponent);
    }
    Decimal { digits, exponent }
}

fn round_up(digits: &mut [u8], exponent: &mut i32) {
    for digit in digits.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return;
        }
        *digit = 0;
    }
    // All nines.
    digits[0] = 1;
    *exponent += 1;
}
