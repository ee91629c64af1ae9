//! Addresses and names: what is understood is shown so that it is understood again, and advice is good.

#![no_main]

use std::{fmt, str::FromStr};

use libfuzzer_sys::fuzz_target;
use tapfan::net::{
    AddressError, BindAddress, Endpoint, Host, SrvName, name_server_address, socket_address,
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
        Err(error) => advice(&error),
    }
}

fn advice(error: &AddressError) {
    assert!(!error.to_string().is_empty());
    assert!(!error.advice().is_empty());
    let _ = error.instead();
}

fuzz_target!(|text: &str| {
    understood_again::<Endpoint>(text);
    understood_again::<SrvName>(text);
    understood_again::<Host>(text);
    if let Err(error) = text.parse::<BindAddress>() {
        advice(&error);
    }
    for read in [socket_address, name_server_address] {
        match read(text) {
            Ok(address) => assert_eq!(read(&address.to_string()), Ok(address)),
            Err(error) => advice(&error),
        }
    }
});
