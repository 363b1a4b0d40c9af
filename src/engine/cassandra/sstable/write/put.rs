//! Cassandra's variable-length integers and byte strings, appended to a buffer (`VIntCoding`, `ByteBufferUtil`).

/// Appends an unsigned variable-length integer: as many bytes follow the first as it has leading ones.
#[inline]
pub fn vint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    let size = vint_len(value);
    if size == 9 {
        out.push(0xff);
        out.extend_from_slice(&value.to_be_bytes());
        return;
    }
    let mut bytes = (value << (64 - 8 * size)).to_be_bytes();
    bytes[0] |= !(0xff_u8 >> (size - 1));
    out.extend_from_slice(&bytes[..size]);
}

/// Bytes that [`vint`] takes.
#[inline]
pub fn vint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7).min(9)
}

/// Appends a signed variable-length integer: the sign is the lowest bit.
pub fn signed_vint(out: &mut Vec<u8>, value: i64) {
    vint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends bytes after their variable-length length.
#[inline]
pub fn vbytes(out: &mut Vec<u8>, bytes: &[u8]) {
    vint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends bytes after a length of two bytes; `false`, and nothing appended, where they are too long for that.
#[must_use]
pub fn short_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let Ok(length) = u16::try_from(bytes.len()) else { return false };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    true
}

/// Appends text after a length of two bytes, as `DataOutput.writeUTF` does for ASCII. Names of classes and options are short.
pub fn utf(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::super::super::cursor::Cursor;
    use super::*;

    #[test]
    fn vints_are_read_back_and_as_long_as_said() {
        for shift in 0..64 {
            for delta in [0u64, 1, 2] {
                let value = (1u64 << shift).wrapping_sub(delta);
                let mut out = Vec::new();
                vint(&mut out, value);
                assert_eq!(out.len(), vint_len(value), "{value:#x}");
                let mut cursor = Cursor::new(&out);
                assert_eq!(cursor.vint(), Ok(value));
                assert_eq!(cursor.remaining(), 0);
            }
        }
        let mut out = Vec::new();
        signed_vint(&mut out, -1);
        signed_vint(&mut out, 1);
        assert_eq!(out, [1, 2]);
    }
}
