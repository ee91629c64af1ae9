//! The login to a broker: SASL with PLAIN (RFC 4616) or SCRAM (RFC 5802, RFC 7677).

use std::{fmt, num::NonZeroU32, ops::RangeInclusive, str::Split, sync::Arc};

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2, rand};
use data_encoding::BASE64;

use super::{
    Error,
    error::{Doing, ScramError},
};

/// The user and the password of a sink.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub mechanism: Mechanism,
    pub user: Arc<str>,
    pub password: Arc<str>,
}

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

/// The client's side of a login.
pub(super) struct Client {
    credentials: Credentials,
    nonce: String,
    step: Step,
}

enum Step {
    First,
    /// PLAIN was sent.
    Plain,
    /// The first SCRAM message was sent.
    Challenge,
    /// The proof was sent. Holds the signature that proves that the broker knows the password.
    Signature(Vec<u8>),
    Done,
}

/// The unread attributes of a SCRAM message.
struct Attributes<'a>(Split<'a, char>);

/// The fewest and the most iterations that a broker can ask for. RFC 7677 requires at least 4096, and Kafka allows up to
/// 16,384. With a huge number, a hostile broker could keep a thread busy. This largest number takes about a tenth of a
/// second.
pub(super) const ITERATIONS: RangeInclusive<u32> = 4096..=100_000;

/// The random bytes of a nonce.
const NONCE: usize = 18;

// === impl Mechanism ===

impl Mechanism {
    /// Returns the registered name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::ScramSha512 => hmac::HMAC_SHA512,
            Self::Plain | Self::ScramSha256 => hmac::HMAC_SHA256,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::ScramSha512 => &digest::SHA512,
            Self::Plain | Self::ScramSha256 => &digest::SHA256,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::ScramSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
            Self::Plain | Self::ScramSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }
}

// === impl Client ===

impl Client {
    pub(super) fn new(credentials: &Credentials) -> Result<Self, Error> {
        let mut nonce = [0; NONCE];
        rand::fill(&mut nonce).map_err(|_| Error::NoRandomNumbers)?;
        Ok(Self::with_nonce(credentials, BASE64.encode(&nonce)))
    }

    pub(super) fn with_nonce(credentials: &Credentials, nonce: String) -> Self {
        Self {
            credentials: credentials.clone(),
            nonce,
            step: Step::First,
        }
    }

    /// Returns the next message, after the broker's message `challenge`. `None` if the login is complete.
    ///
    /// Computing a SCRAM proof takes milliseconds. Call this only on a blocking thread.
    pub(super) fn next(&mut self, challenge: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
        let Credentials { user, password, .. } = &self.credentials;
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::First if self.credentials.mechanism == Mechanism::Plain => {
                self.step = Step::Plain;
                Ok(Some(format!("\0{user}\0{password}").into_bytes()))
            }
            Step::First => {
                self.step = Step::Challenge;
                Ok(Some(format!("n,,{}", self.first_bare()).into_bytes()))
            }
            Step::Challenge => {
                let (message, signature) = self.prove(challenge.unwrap_or_default())?;
                self.step = Step::Signature(signature);
                Ok(Some(message.into_bytes()))
            }
            Step::Signature(expected) => {
                check_signature(challenge.unwrap_or_default(), &expected)?;
                Ok(None)
            }
            Step::Plain | Step::Done => Ok(None),
        }
    }

    fn first_bare(&self) -> String {
        // A comma and an equals sign separate the fields, so they are escaped.
        let user = self.credentials.user.replace('=', "=3D");
        format!("n={},r={}", user.replace(',', "=2C"), self.nonce)
    }

    /// Returns the message with the proof, and the signature of the broker.
    fn prove(&self, challenge: &[u8]) -> Result<(String, Vec<u8>), Error> {
        let Credentials {
            mechanism,
            password,
            ..
        } = &self.credentials;
        let server_first = text(challenge)?;
        let mut attributes = Attributes::of(server_first);
        if Attributes::of(server_first).next('m').is_some() {
            return Err(ScramError::Extension.into());
        }
        let nonce = attributes.next('r').ok_or(ScramError::NoNonce)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::WrongNonce.into());
        }
        let salt = attributes.next('s');
        let salt = salt.and_then(|salt| BASE64.decode(salt.as_bytes()).ok());
        let salt = salt.ok_or(ScramError::NoSalt)?;
        let iterations = attributes.next('i').and_then(|count| count.parse().ok());
        let iterations = iterations.ok_or(ScramError::NoIterations)?;
        let usable = Some(iterations).filter(|count| ITERATIONS.contains(count));
        let usable = usable.and_then(NonZeroU32::new);
        let usable = usable.ok_or(ScramError::Iterations(iterations))?;

        let mut salted = vec![0; mechanism.digest().output_len()];
        let (algorithm, secret) = (mechanism.pbkdf2(), password.as_bytes());
        pbkdf2::derive(algorithm, usable, &salt, secret, &mut salted);
        let sign = |key: &[u8], message: &[u8]| {
            let key = hmac::Key::new(mechanism.hmac(), key);
            hmac::sign(&key, message)
        };
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(mechanism.digest(), client_key.as_ref());
        // `biws` is `n,,` in Base64: no channel binding.
        let without_proof = format!("c=biws,r={nonce}");
        let messages = format!("{},{server_first},{without_proof}", self.first_bare());
        let client_signature = sign(stored_key.as_ref(), messages.as_bytes());
        let pairs = client_key.as_ref().iter().zip(client_signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();
        let server_key = sign(&salted, b"Server Key");
        let signature = sign(server_key.as_ref(), messages.as_bytes());
        let message = format!("{without_proof},p={}", BASE64.encode(&proof));
        Ok((message, signature.as_ref().to_vec()))
    }
}

/// Checks that the broker knows the password, too.
fn check_signature(message: &[u8], expected: &[u8]) -> Result<(), Error> {
    let message = text(message)?;
    if Attributes::of(message).next('e').is_some() {
        let code = super::ErrorCode::SASL_AUTHENTICATION_FAILED;
        return Err(Error::of_code(Doing::SaslAuthenticate, code, Some(message)));
    }
    let signature = Attributes::of(message).next('v');
    let signature = signature.and_then(|it| BASE64.decode(it.as_bytes()).ok());
    let signature = signature.ok_or(ScramError::NoSignature)?;
    constant_time::verify_slices_are_equal(&signature, expected)
        .map_err(|_| ScramError::WrongSignature.into())
}

fn text(message: &[u8]) -> Result<&str, Error> {
    str::from_utf8(message).map_err(|_| Error::NotText)
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    fn of(message: &'a str) -> Self {
        Self(message.split(','))
    }

    /// Returns the value of the next attribute. `None` if it does not have this name: SCRAM fixes the order.
    fn next(&mut self, name: char) -> Option<&'a str> {
        self.0.next()?.strip_prefix(name)?.strip_prefix('=')
    }
}

impl fmt::Debug for Credentials {
    /// Leaves out the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(mechanism: Mechanism, user: &str, password: &str) -> Credentials {
        Credentials {
            mechanism,
            user: user.into(),
            password: password.into(),
        }
    }

    #[test]
    fn plain_sends_user_and_password_at_once() {
        let credentials = credentials(Mechanism::Plain, "tap", "secret");
        let mut client = Client::new(&credentials).expect("random numbers");
        let first = client.next(None).expect("a message");
        assert_eq!(first.as_deref(), Some(b"\0tap\0secret".as_slice()));
        assert_eq!(client.next(Some(b"")).expect("complete"), None);
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    /// The exchange in section 3 of RFC 7677.
    #[test]
    fn scram_proves_the_password_as_in_the_rfc() {
        let credentials = credentials(Mechanism::ScramSha256, "user", "pencil");
        let mut client = Client::with_nonce(&credentials, "rOprNGfwEbeRWgbNEkqO".to_owned());
        let mut say = |challenge: Option<&str>| {
            let message = client.next(challenge.map(str::as_bytes));
            message.map(|it| it.map(|it| String::from_utf8(it).expect("text")))
        };
        assert_eq!(
            say(None).expect("a message").as_deref(),
            Some("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        );
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            say(Some(challenge)).expect("a proof").as_deref(),
            Some(
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
            )
        );
        let signature = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(say(Some(signature)).expect("known"), None);
    }

    #[test]
    fn a_wrong_message_of_the_broker_ends_the_login() {
        for (challenge, wrong) in [
            ("s=W22Z,i=4096", ScramError::NoNonce),
            ("s=W22Z,r=abcd,i=4096", ScramError::NoNonce),
            ("r=abcd,i=4096,s=W22Z", ScramError::NoSalt),
            ("m=x,r=abcd,s=W22Z,i=4096", ScramError::Extension),
            ("", ScramError::NoNonce),
            ("r=other,s=W22Z,i=4096", ScramError::WrongNonce),
            ("r=abc,s=W22Z,i=4096", ScramError::WrongNonce),
            ("r=abcd,s=%,i=4096", ScramError::NoSalt),
            ("r=abcd,s=W22Z", ScramError::NoIterations),
            ("r=abcd,s=W22Z,i=-4096", ScramError::NoIterations),
            ("r=abcd,s=W22Z,i=1", ScramError::Iterations(1)),
            ("r=abcd,s=W22Z,i=100001", ScramError::Iterations(100_001)),
        ] {
            let credentials = credentials(Mechanism::ScramSha512, "a,b=c", "pencil");
            let mut client = Client::with_nonce(&credentials, "abc".to_owned());
            let first = client.next(None).expect("a message");
            assert_eq!(first.as_deref(), Some(b"n,,n=a=2Cb=3Dc,r=abc".as_slice()));
            let error = client.next(Some(challenge.as_bytes()));
            assert!(
                matches!(&error, Err(Error::Scram(it)) if *it == wrong),
                "{error:?}"
            );
        }
        let error = check_signature(b"e=other-error", b"x").expect_err("refused");
        assert_eq!(
            error.code(),
            Some(super::super::ErrorCode::SASL_AUTHENTICATION_FAILED)
        );
        let error = check_signature(b"v=W22Z", b"x").expect_err("another signature");
        insta::assert_snapshot!(error, @"SCRAM login failed: the broker does not know the password; is this the right cluster?");
        insta::assert_snapshot!(ScramError::Iterations(1), @"the broker requires 1 iterations; tapfan accepts 4096 to 100000; change the iterations of the user");
    }
}
