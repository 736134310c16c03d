//! FF1 with AES-256 (NIST SP 800-38G Rev. 1): a keyed permutation of the strings of a length over an alphabet.
//!
//! The `fpe` crate allocates for every value and takes ten times as long; it is the oracle of the tests here. What
//! makes the difference is that no half of a string exceeds 96 bits, so a round is one block and one division.

use aes::{
    Aes256,
    cipher::{BlockCipherEncrypt, KeyInit},
};

/// NIST asks for a million strings at least: fewer can be tried out.
pub(super) const DOMAIN_MIN: u128 = 1_000_000;
/// A half of 96 bits is 28 decimal digits.
pub(super) const DIGITS_MAX: usize = 56;
/// For numerals of one bit; a half of it is below 96 bits.
const BITS_MAX: u32 = 64;

const BLOCK_BYTES: usize = 16;
const ROUNDS: u8 = 10;

/// A key, prepared.
pub(super) struct Ff1(Aes256);

/// The permutation of strings of one length under one tweak.
pub(super) struct Permutation<'a> {
    aes: &'a Aes256,
    /// Numbers below which the left and the right half are.
    limits: [u128; 2],
    /// Numerals of the left half.
    left: usize,
    /// Bytes of a half as a number.
    bytes: usize,
    /// CBC-MAC of what is the same in every round; round and half end the block.
    state: u128,
}

impl Ff1 {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self(Aes256::new(&key.into()))
    }

    /// The permutation of so many decimal digits; none where they are too few or too many.
    pub(super) fn decimal(&self, tweak: &[&[u8]], count: usize) -> Option<Permutation<'_>> {
        (count <= DIGITS_MAX && power(10, count) >= DOMAIN_MIN).then(|| self.permutation(10, count, tweak))
    }

    /// Permutes decimal digits, each 0 to 9; false where they are too few or too many, and nothing is done.
    pub(super) fn digits(&self, tweak: &[&[u8]], digits: &mut [u8]) -> bool {
        let permutation = self.decimal(tweak, digits.len());
        permutation.inspect(|permutation| permutation.digits(digits)).is_some()
    }

    /// Permutes the numbers of so many bits, at least 20 and at most 64.
    pub(super) fn bits(&self, tweak: &[&[u8]], bits: u32, value: u64) -> u64 {
        debug_assert!((20..=BITS_MAX).contains(&bits));
        let permutation = self.permutation(2, bits as usize, tweak);
        let right = bits - bits / 2;
        let value = u128::from(value) & (power(2, bits as usize) - 1);
        let [a, b] = permutation.halves([value >> right, value & (power(2, right as usize) - 1)]);
        (a << right | b) as u64
    }

    fn permutation(&self, radix: u8, count: usize, tweak: &[&[u8]]) -> Permutation<'_> {
        let left = count / 2;
        let limits = [power(radix, left), power(radix, count - left)];
        let bits = u128::BITS - (limits[1] - 1).leading_zeros();
        let bytes = bits.div_ceil(8) as usize;
        let length: usize = tweak.iter().map(|part| part.len()).sum();
        let mut digest = Digest { aes: &self.0, state: [0; BLOCK_BYTES], filled: 0 };
        digest.update(&[1, 2, 1, 0, 0, radix, ROUNDS, left as u8]);
        digest.update(&(count as u32).to_be_bytes());
        digest.update(&(length as u32).to_be_bytes());
        for part in tweak {
            digest.update(part);
        }
        while digest.filled != BLOCK_BYTES - 1 - bytes {
            digest.update(&[0]);
        }
        Permutation { aes: &self.0, limits, left, bytes, state: u128::from_be_bytes(digest.state) }
    }
}

impl Permutation<'_> {
    /// Permutes decimal digits, as many as it is for.
    pub(super) fn digits(&self, digits: &mut [u8]) {
        let (left, right) = digits.split_at_mut(self.left.min(digits.len()));
        let [a, b] = self.halves([number(left), number(right)]);
        write_number(a, left);
        write_number(b, right);
    }

    fn halves(&self, [mut a, mut b]: [u128; 2]) -> [u128; 2] {
        // The first 4 * ceil(bytes / 4) + 4 bytes of a block, which are 16 at most, are a number.
        let used = 4 * self.bytes.div_ceil(4) + 4;
        for round in 0..ROUNDS {
            let mut block = (self.state ^ u128::from(round) << (8 * self.bytes) ^ b).to_be_bytes();
            self.aes.encrypt_block((&mut block).into());
            let y = u128::from_be_bytes(block) >> (8 * (BLOCK_BYTES - used));
            let limit = self.limits[usize::from(round % 2)];
            // Division of 128 bits takes several times as long.
            let y = match (u64::try_from(y), u64::try_from(limit)) {
                (Ok(y), Ok(limit)) => u128::from(y % limit),
                (Ok(_) | Err(_), Ok(_) | Err(_)) => y % limit,
            };
            let c = a + y;
            (a, b) = (b, if c < limit { c } else { c - limit });
        }
        [a, b]
    }
}

/// CBC-MAC under way.
struct Digest<'a> {
    aes: &'a Aes256,
    state: [u8; BLOCK_BYTES],
    /// Bytes of the current block; it is enciphered as soon as it is full.
    filled: usize,
}

impl Digest<'_> {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.state[self.filled] ^= byte;
            self.filled += 1;
            if self.filled == BLOCK_BYTES {
                self.aes.encrypt_block((&mut self.state).into());
                self.filled = 0;
            }
        }
    }
}

fn power(radix: u8, exponent: usize) -> u128 {
    u128::from(radix).saturating_pow(exponent as u32)
}

fn number(digits: &[u8]) -> u128 {
    digits.iter().fold(0, |number, digit| number * 10 + u128::from(*digit))
}

fn write_number(mut number: u128, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use fpe::ff1::{FF1, FlexibleNumeralString};
    use proptest::prelude::*;

    use super::*;

    fn oracle(key: [u8; 32], radix: u32, tweak: &[u8], numerals: &[u8]) -> Vec<u8> {
        let numerals: Vec<u16> = numerals.iter().map(|numeral| u16::from(*numeral)).collect();
        let ff1 = FF1::<Aes256>::new(&key, radix).unwrap();
        let shown: Vec<u16> = ff1.encrypt(tweak, &FlexibleNumeralString::from(numerals)).unwrap().into();
        shown.into_iter().map(|numeral| numeral as u8).collect()
    }

    #[test]
    fn the_sample_of_the_standard_comes_out() {
        // FF1 sample 7 of NIST's FF1samples.pdf: AES-256, no tweak.
        let key = [
            0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
            0xef, 0x43, 0x59, 0xd8, 0xd5, 0x80, 0xaa, 0x4f, 0x7f, 0x03, 0x6d, 0x6f, 0x04, 0xfc, 0x6a, 0x94,
        ];
        let mut digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert!(Ff1::new(key).digits(&[], &mut digits));
        assert_eq!(digits, [6, 6, 5, 7, 6, 6, 7, 0, 0, 9]);
    }

    #[test]
    fn each_of_many_small_numbers_comes_out_as_the_oracle_has_it() {
        // Among so many, some halves add up to their limit.
        let ff1 = Ff1::new([7; 32]);
        for number in 0..400_u128 {
            let mut digits = [0; 6];
            write_number(number, &mut digits);
            let wanted = oracle([7; 32], 10, b"tweak", &digits);
            assert!(ff1.digits(&[b"tweak"], &mut digits));
            assert_eq!(digits[..], wanted, "{number}");
        }
    }

    #[test]
    fn too_few_and_too_many_digits_are_left_alone() {
        let ff1 = Ff1::new([7; 32]);
        for count in [0, 1, 5, DIGITS_MAX + 1] {
            let mut digits = vec![3; count];
            assert!(!ff1.digits(&[], &mut digits) && digits == vec![3; count], "{count}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn digits_come_out_as_the_oracle_has_them(
            key: [u8; 32], tweak in prop::collection::vec(any::<u8>(), 0..40), at in 0_usize..40,
            digits in prop::collection::vec(0_u8..10, 6..=DIGITS_MAX),
        ) {
            let mut shown = digits.clone();
            let (left, right) = tweak.split_at(at.min(tweak.len()));
            prop_assert!(Ff1::new(key).digits(&[left, right], &mut shown));
            prop_assert_eq!(shown, oracle(key, 10, &tweak, &digits));
        }

        #[test]
        fn bits_come_out_as_the_oracle_has_them(
            key: [u8; 32], tweak in prop::collection::vec(any::<u8>(), 0..40), bits in 20_u32..=64, value: u64,
        ) {
            let numerals: Vec<u8> = (0..bits).rev().map(|bit| (value >> bit & 1) as u8).collect();
            let shown = oracle(key, 2, &tweak, &numerals);
            let shown = shown.into_iter().fold(0_u64, |number, bit| number << 1 | u64::from(bit));
            prop_assert_eq!(Ff1::new(key).bits(&[&tweak], bits, value), shown);
        }
    }
}
