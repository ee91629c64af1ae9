//! fstrm
