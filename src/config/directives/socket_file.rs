//! The options for the file of a unix socket that tapfan binds. Listeners have them, and sinks that wait for collectors.

use std::marker::PhantomData;

use super::{
    super::{diagnostics::Diagnostic, lexer::Token, needs::What},
    row::{Given, Row, Scope, Value},
};
use crate::net::UnixPermissions;

/// A directive that can bind a unix socket.
pub(super) trait BindsUnix: 'static {
    /// Returns the permissions of the socket's file, or `None` if there is no such file.
    fn permissions(&self) -> Option<&UnixPermissions>;

    fn permissions_mut(&mut self) -> Option<&mut UnixPermissions>;

    /// Returns the problem if the directive with this address has no such file.
    fn without_file(&self, given: &Given<'_>, address: &Token) -> Diagnostic;
}

/// The options for the file of a socket that the directive `T` binds.
pub(super) struct SocketFile<T>(PhantomData<T>);

// === impl SocketFile ===

impl<T: BindsUnix> SocketFile<T> {
    pub(super) const MODE: Row<T> = Row {
        name: "mode",
        value: Value::Mode(|it, mode| set(it, |permissions| permissions.mode = mode)),
        default: "0660",
        doc: "the permissions of the socket file",
        scope: Some(&Self::UNIX),
        describe: |it| Some(format!("{:04o}", it.permissions()?.mode)),
    };

    pub(super) const OWNER: Row<T> = Row {
        name: "owner",
        value: Value::One("USER", |it, given, findings| {
            let user = given.word(findings)?.to_owned();
            given.needs(What::User(user.clone()), findings);
            set(it, |permissions| permissions.owner = Some(user));
            Some(())
        }),
        default: "the user of the process",
        doc: "the owner of the socket file, by name or number",
        scope: Some(&Self::UNIX),
        describe: |it| it.permissions()?.owner.clone(),
    };

    pub(super) const GROUP: Row<T> = Row {
        name: "group",
        value: Value::One("GROUP", |it, given, findings| {
            let group = given.word(findings)?.to_owned();
            given.needs(What::Group(group.clone()), findings);
            set(it, |permissions| permissions.group = Some(group));
            Some(())
        }),
        default: "the group of the process",
        doc: "the group of the socket file, by name or number",
        scope: Some(&Self::UNIX),
        describe: |it| it.permissions()?.group.clone(),
    };

    const UNIX: Scope<T> = Scope {
        name: UNIX,
        applies: |it| it.permissions().is_some(),
        misplaced: |it, given, address| it.without_file(given, address),
    };
}

/// The directives with these options, as in "for unix sockets".
pub(super) const UNIX: &str = "unix sockets";

/// Returns the warning for an option of an abstract socket.
pub(super) fn is_abstract(given: &Given<'_>, address: &Token) -> Diagnostic {
    let message = format!("`{}` has no effect here", given.name.text);
    let label = "any process can connect to an abstract socket";
    let problem = given.name.warning(message, label);
    problem.at(address.span, "this has no file")
}

fn set<T: BindsUnix>(it: &mut T, set: impl FnOnce(&mut UnixPermissions)) {
    if let Some(permissions) = it.permissions_mut() {
        set(permissions);
    }
}
