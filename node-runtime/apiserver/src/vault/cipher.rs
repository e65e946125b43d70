//! The ways to seal a value, in upstream's formats: a prefix that names way and key, then the nonce,
//! then what is sealed.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use bytes::{Bytes, BytesMut};
use crypto_secretbox::aead::AeadInPlace;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use minik_config::{EncryptionKey, EncryptionProvider};

use super::SEALED;

const GCM_NONCE: usize = 12;
const GCM_TAG: usize = 16;
const CBC_BLOCK: usize = 16;
const BOX_NONCE: usize = 24;
const BOX_TAG: usize = 16;

const TOO_SHORT: &str = "the stored data was shorter than the required size";

/// A value that could be opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) value: Bytes,
    /// Whether it would be sealed otherwise now.
    pub(super) is_stale: bool,
}

/// One way, with its keys.
pub(super) struct Provider {
    /// Empty for the one that does nothing.
    prefix: &'static str,
    /// What is said when no key has the right name.
    family: &'static str,
    keys: Vec<Key>,
}

struct Key {
    /// The name with a colon.
    name: String,
    cipher: Cipher,
}

enum Cipher {
    Gcm(Box<LessSafeKey>),
    /// The key's bytes: the library's keys are made for one direction each.
    Cbc(Vec<u8>),
    Secretbox(Box<XSalsa20Poly1305>),
}

/// Opens a value with the first way that can.
pub(super) fn open(providers: &[Provider], at: &str, value: &Bytes) -> Result<Opened, String> {
    let mut errors: Vec<String> = Vec::new();
    for (place, provider) in providers.iter().enumerate() {
        if provider.is_identity() {
            if !value.starts_with(SEALED) {
                return Ok(Opened { value: value.clone(), is_stale: place > 0 });
            }
            continue;
        }
        let Some(rest) = value.strip_prefix(provider.prefix.as_bytes()) else { continue };
        match provider.open(at, rest) {
            Ok((value, key)) => return Ok(Opened { value, is_stale: place > 0 || key > 0 }),
            Err(error) => errors.push(error),
        }
    }
    Err(match errors.len() {
        // As upstream's, where nothing is configured for a resource.
        0 if providers.len() == 1 && providers[0].is_identity() => {
            "identity transformer tried to read encrypted data".to_owned()
        }
        0 => "no matching prefix found".to_owned(),
        1 => errors.remove(0),
        _ => format!("[{}]", errors.join(", ")),
    })
}

impl Provider {
    pub(super) fn new(provider: &EncryptionProvider) -> Provider {
        use EncryptionProvider::{AesCbc, AesGcm, Identity, Secretbox};
        match provider {
            Identity => Provider { prefix: "", family: "", keys: Vec::new() },
            AesCbc(keys) => Provider::with("k8s:enc:aescbc:v1:", "AES", keys, Cipher::cbc),
            AesGcm(keys) => Provider::with("k8s:enc:aesgcm:v1:", "AES", keys, Cipher::gcm),
            Secretbox(keys) => {
                let prefix = "k8s:enc:secretbox:v1:";
                Provider::with(prefix, "Secretbox", keys, Cipher::secretbox)
            }
        }
    }

    fn with(
        prefix: &'static str,
        family: &'static str,
        keys: &[EncryptionKey],
        make: fn(&[u8]) -> Cipher,
    ) -> Provider {
        let key =
            |key: &EncryptionKey| Key { name: format!("{}:", key.name), cipher: make(&key.secret) };
        Provider { prefix, family, keys: keys.iter().map(key).collect() }
    }

    pub(super) fn is_identity(&self) -> bool {
        self.keys.is_empty()
    }

    /// Seals a value with the first key.
    pub(super) fn seal(&self, at: &str, value: Bytes) -> Bytes {
        let Some(key) = self.keys.first() else { return value };
        let extra = BOX_NONCE + BOX_TAG + CBC_BLOCK;
        let head = self.prefix.len() + key.name.len();
        let mut out = BytesMut::with_capacity(head + value.len() + extra);
        out.extend_from_slice(self.prefix.as_bytes());
        out.extend_from_slice(key.name.as_bytes());
        key.cipher.seal(at, &value, &mut out);
        out.freeze()
    }

    /// Opens what follows the prefix; says which key it took.
    fn open(&self, at: &str, rest: &[u8]) -> Result<(Bytes, usize), String> {
        let mut failed = None;
        for (index, key) in self.keys.iter().enumerate() {
            let Some(sealed) = rest.strip_prefix(key.name.as_bytes()) else { continue };
            match key.cipher.open(at, sealed) {
                Ok(value) => return Ok((value.into(), index)),
                Err(error) => failed = Some(error.to_owned()),
            }
        }
        let family = self.family;
        Err(failed.unwrap_or_else(|| {
            format!("no matching key was found for the provided {family} transformer")
        }))
    }
}

impl Cipher {
    fn gcm(secret: &[u8]) -> Cipher {
        let algorithm = match secret.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            _ => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, secret).expect(CHECKED);
        Cipher::Gcm(Box::new(LessSafeKey::new(key)))
    }

    fn cbc(secret: &[u8]) -> Cipher {
        Cipher::Cbc(secret.to_vec())
    }

    fn secretbox(secret: &[u8]) -> Cipher {
        Cipher::Secretbox(Box::new(XSalsa20Poly1305::new_from_slice(secret).expect(CHECKED)))
    }

    /// Appends nonce and sealed value.
    fn seal(&self, at: &str, value: &[u8], out: &mut BytesMut) {
        match self {
            Cipher::Gcm(key) => {
                let nonce: [u8; GCM_NONCE] = random();
                out.extend_from_slice(&nonce);
                let mut sealed = value.to_vec();
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.seal_in_place_append_tag(nonce, Aad::from(at.as_bytes()), &mut sealed)
                    .expect(SEALS);
                out.extend_from_slice(&sealed);
            }
            Cipher::Cbc(secret) => {
                let iv: [u8; CBC_BLOCK] = random();
                out.extend_from_slice(&iv);
                let key = PaddedBlockEncryptingKey::cbc_pkcs7(cbc_key(secret)).expect(CHECKED);
                let mut sealed = value.to_vec();
                let context = EncryptionContext::Iv128(FixedLength::from(iv));
                key.less_safe_encrypt(&mut sealed, context).expect(SEALS);
                out.extend_from_slice(&sealed);
            }
            Cipher::Secretbox(key) => {
                let nonce: [u8; BOX_NONCE] = random();
                out.extend_from_slice(&nonce);
                let mut sealed = value.to_vec();
                let tag = key.encrypt_in_place_detached(&nonce.into(), b"", &mut sealed);
                // The tag comes first, as in NaCl.
                out.extend_from_slice(&tag.expect(SEALS));
                out.extend_from_slice(&sealed);
            }
        }
    }

    fn open(&self, at: &str, sealed: &[u8]) -> Result<Vec<u8>, &'static str> {
        match self {
            Cipher::Gcm(key) => {
                let (nonce, sealed) = sealed.split_first_chunk::<GCM_NONCE>().ok_or(TOO_SHORT)?;
                if sealed.len() < GCM_TAG {
                    return Err(TOO_SHORT);
                }
                let mut out = sealed.to_vec();
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let opened = key.open_in_place(nonce, Aad::from(at.as_bytes()), &mut out);
                let length = opened.map_err(|_| "cipher: message authentication failed")?.len();
                out.truncate(length);
                Ok(out)
            }
            Cipher::Cbc(secret) => {
                let (iv, sealed) = sealed.split_first_chunk::<CBC_BLOCK>().ok_or(TOO_SHORT)?;
                if sealed.is_empty() {
                    return Err("invalid PKCS7 data (empty or not padded)");
                }
                if !sealed.len().is_multiple_of(CBC_BLOCK) {
                    return Err("the stored data is not a multiple of the block size");
                }
                let key = PaddedBlockDecryptingKey::cbc_pkcs7(cbc_key(secret)).expect(CHECKED);
                let mut out = sealed.to_vec();
                let context = DecryptionContext::Iv128(FixedLength::from(*iv));
                let opened = key.decrypt(&mut out, context);
                let length = opened.map_err(|_| "invalid padding on input")?.len();
                out.truncate(length);
                Ok(out)
            }
            Cipher::Secretbox(key) => {
                let (nonce, sealed) = sealed.split_first_chunk::<BOX_NONCE>().ok_or(TOO_SHORT)?;
                let (tag, sealed) = sealed.split_first_chunk::<BOX_TAG>().ok_or(TOO_SHORT)?;
                let mut out = sealed.to_vec();
                key.decrypt_in_place_detached(&(*nonce).into(), b"", &mut out, &(*tag).into())
                    .map_err(|_| "output array was not large enough for encryption")?;
                Ok(out)
            }
        }
    }
}

fn cbc_key(secret: &[u8]) -> UnboundCipherKey {
    let algorithm = match secret.len() {
        16 => &AES_128,
        24 => &AES_192,
        _ => &AES_256,
    };
    UnboundCipherKey::new(algorithm, secret).expect(CHECKED)
}

const CHECKED: &str = "the configuration was checked for the length of its keys";
const SEALS: &str = "a key of the right length seals objects of any size we store";

/// Bytes of the system's generator.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of NaCl's own documentation.
    #[test]
    fn secretbox_is_nacls() {
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let tag_and_start = hex("f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce");
        let cipher = Cipher::secretbox(&key);
        let Cipher::Secretbox(inner) = &cipher else { panic!("made as one") };
        let plain = hex("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc\
                         e5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb31\
                         0e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde\
                         048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f93776384864\
                         5e0705");
        let mut sealed = plain.clone();
        let at: [u8; BOX_NONCE] = nonce.clone().try_into().expect("24 bytes");
        let tag = inner.encrypt_in_place_detached(&at.into(), b"", &mut sealed).expect("seals");
        let whole = [tag.as_slice(), &sealed].concat();
        assert_eq!(whole[..32], tag_and_start);
        assert_eq!(cipher.open("", &[nonce, whole].concat()), Ok(plain));
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hex")
        };
        digits.chunks(2).map(pair).collect()
    }
}
