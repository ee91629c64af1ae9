//! Fuzzes addresses and names. The text that `Display` writes for a parsed address must parse again, and every address
//! that an error message proposes must be valid.

#![no_main]

use std::{fmt, str::FromStr};

use libfuzzer_sys::fuzz_target;
use tapfan::{
    config::{AddressError, Authority, Endpoint, Host, SrvName},
    internals::{BindAddress, name_server_address, socket_address},
};

fn understood_again<T>(text: &str)
where
    T: FromStr<Err = AddressError> + fmt::Display + fmt::Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(understood) => {
            let shown = understood.to_string();
            assert_eq!(shown.parse().as_ref(), Ok(&understood), "{shown:?}");
        }
        Err(error) => advice(&error, str::parse::<T>),
    }
}

fn advice<T>(error: &AddressError, read: impl Fn(&str) -> Result<T, AddressError>) {
    assert!(!error.to_string().is_empty());
    assert!(!error.advice().is_empty());
    if let Some(proposed) = error.instead() {
        let outcome = read(proposed).map(|_| ());
        assert_eq!(outcome, Ok(()), "{error}: {proposed:?}");
    }
}

fuzz_target!(|text: &str| {
    understood_again::<Endpoint>(text);
    understood_again::<SrvName>(text);
    understood_again::<Host>(text);
    if let Err(error) = text.parse::<BindAddress>() {
        advice(&error, str::parse::<BindAddress>);
    }
    for read in [socket_address, name_server_address] {
        match read(text) {
            Ok(address) => assert_eq!(read(&Authority::from(address).to_string()), Ok(address)),
            Err(error) => advice(&error, read),
        }
    }
});
