//! SHA-256 as lower-case hex: the one form in which content hashes are stored and compared.

use sha2::{Digest, Sha256};

/// Lower-case hex of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        write!(out, "{byte:02x}").ok();
        out
    })
}

/// The bytes of a SHA-256 in lower-case hex; none for anything else.
pub fn bytes(hex: &str) -> Option<[u8; 32]> {
    let (digits, rest) = hex.as_bytes().as_chunks::<2>();
    if digits.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(digits) {
        let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(bytes)
}

/// SHA-256 over several parts, each ended by a zero byte so that no two lists give the same stream.
pub fn sha256(parts: &[&str]) -> String {
    hex(&sha256_bytes(parts))
}

/// The same as bytes.
pub fn sha256_bytes(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_back() {
        let sum = sha256(&["a"]);
        assert_eq!(bytes(&sum).map(|bytes| hex(&bytes)).as_deref(), Some(sum.as_str()));
        for other in ["", "ab", &sum[1..], &format!("{sum}0"), &sum.replacen(&sum[..1], "g", 1)] {
            assert_eq!(bytes(other), None, "{other}");
        }
    }
}
