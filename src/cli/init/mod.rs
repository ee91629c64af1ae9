//! `tapfan init`: writes a first Tapfile for this machine. With `--for`, prints example lines for a DNS server's
//! configuration and for the Tapfile.

mod draft;
mod machine;
mod recipes;

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueHint};

use self::{draft::Draft, machine::Machine, recipes::Server};
use super::{FAILED, eprint, fail, print};
use crate::config::AdminAddress;

/// Arguments of `tapfan init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "Tapfile", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// Replaces the file if it exists
    #[arg(long)]
    force: bool,
    /// Writes nothing, and prints the lines for the configuration of this DNS server and for the Tapfile
    #[arg(long = "for", value_name = "SERVER", value_enum, conflicts_with_all = ["output", "force"])]
    server: Option<Server>,
}

/// The reason why no Tapfile was written.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("{} exists; `--force` replaces it, and `--output FILE` writes another file", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot create the folder {} for the sockets: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
}

pub(super) fn run(args: &InitArgs) -> ExitCode {
    let result = match args.server {
        Some(server) => print(server.recipe().text().as_bytes()).map_err(InitError::Stdout),
        None => write(args, &Draft::new(&Machine::look())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format_args!("{error}")),
    }
}

fn write(args: &InitArgs, draft: &Draft) -> Result<(), InitError> {
    let path = args.output.as_path();
    if path == Path::new("-") {
        return print(draft.text.as_bytes()).map_err(InitError::Stdout);
    }
    // The folder is created before the Tapfile is written. If the folder cannot be created, there is no Tapfile yet,
    // and the next attempt does not fail because of an existing file.
    create_folder(&draft.folder).map_err(|source| InitError::Folder {
        path: draft.folder.clone(),
        source,
    })?;
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => InitError::Exists(path.to_owned()),
        _ => InitError::File {
            path: path.to_owned(),
            source,
        },
    };
    let mut options = OpenOptions::new();
    options.write(true).truncate(args.force);
    let mut file = options
        .create(args.force)
        .create_new(!args.force)
        .open(path)
        .map_err(failed)?;
    file.write_all(draft.text.as_bytes()).map_err(failed)?;
    eprint(format_args!("{}", next_steps(path, draft)));
    Ok(())
}

/// Creates a folder that other users may enter, because the DNS server runs as another user. Does not change an
/// existing folder.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    // The mode is set after the creation, because the umask restricts a mode that is given at the creation.
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Returns the text that lists the next commands: they start the router and show the first frames.
fn next_steps(path: &Path, draft: &Draft) -> String {
    let file = path.display();
    let run = if path == Path::new("Tapfile") {
        "tapfan run".to_owned()
    } else {
        format!("tapfan run {file}")
    };
    let folder = draft.folder.display();
    let dump = draft.dump.display();
    let mut parts = vec![
        format!("tapfan: wrote {file}. The sockets are in {folder}.\n\nNext:"),
        format!("  {run}"),
        format!("  tapfan dump -u {dump}   # in another terminal, shows the frames"),
    ];
    if let Some(page) = &draft.page {
        parts.push(format!("  {page}   # the page, in a browser"));
    }
    if let Some(why) = &draft.out_of_reach {
        parts.push(format!("\n{why}"));
    }
    let default = AdminAddress::DEFAULT;
    if draft.page != Some(format!("http://{default}/")) {
        parts.push(format!(
            "\n{default} is in use. If a router runs there already, stop it first, or change the sockets in {file}:\n\
             two routers cannot share a socket."
        ));
    }
    for (found, socket) in &draft.servers {
        let recipe = found.server.recipe();
        let socket = socket.display().to_string();
        let (lines, permission) = (recipe.lines_for(&socket), recipe.permission(&socket));
        let (name, file) = (recipe.name, recipe.file);
        let below = recipe.note_below() + &permission;
        parts.push(format!(
            "\n{name} runs here. Add to {file}, and restart it:\n\n{lines}{}",
            below.trim_end()
        ));
    }
    if draft.servers.is_empty() {
        parts.push(
            "\nNo DNS server was found. `tapfan init --for bind` prints the lines for one; `tapfan demo` needs none."
                .to_owned(),
        );
    }
    parts.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn arguments(words: &[&str]) -> InitArgs {
        let words = ["tapfan", "init"].iter().chain(words);
        match Cli::try_parse_from(words).expect("arguments").command {
            Command::Init(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_existing_file_is_replaced_only_with_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = Machine {
            runtime: folder.path().to_owned(),
            servers: Vec::new(),
            is_root: false,
            groups: Vec::new(),
            is_open: true,
            admin: None,
        };
        let draft = Draft::new(&machine);
        let path = folder.path().join("Tapfile");
        fs::write(&path, "# mine").expect("the folder is ours");
        let name = path.to_str().expect("text");
        let refused = write(&arguments(&["-o", name]), &draft);
        assert!(matches!(refused, Err(InitError::Exists(_))), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).expect("text"), "# mine");
        write(&arguments(&["-o", name, "--force"]), &draft).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("text"), draft.text);
        assert!(draft.folder.is_dir());
    }

    #[test]
    fn a_program_beside_the_tapfile_is_not_in_the_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut machine = Machine::look();
        machine.runtime = folder.path().to_owned();
        fs::write(folder.path().join("tapfan"), "").expect("the folder is ours");
        let path = folder.path().join("Tapfile");
        let name = path.to_str().expect("text");
        write(&arguments(&["-o", name]), &Draft::new(&machine)).expect("written");
        assert!(folder.path().join("tapfan-sockets").is_dir());
    }

    #[test]
    fn no_tapfile_is_left_if_the_folder_cannot_be_created() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut machine = Machine::look();
        machine.runtime = folder.path().join("file");
        fs::write(&machine.runtime, "").expect("the folder is ours");
        let path = folder.path().join("Tapfile");
        let name = path.to_str().expect("text");
        let refused = write(&arguments(&["-o", name]), &Draft::new(&machine));
        assert!(
            matches!(refused, Err(InitError::Folder { .. })),
            "{refused:?}"
        );
        assert!(!path.exists());
    }

    /// The umask belongs to the whole process, so this test runs itself in a child process.
    #[test]
    fn other_users_may_enter_the_folder_under_any_umask() {
        const FOLDER: &str = "TAPFAN_TEST_INIT_FOLDER";
        const NAME: &str = "cli::init::tests::other_users_may_enter_the_folder_under_any_umask";
        if let Some(folder) = env::var_os(FOLDER) {
            create_folder(Path::new(&folder)).expect("the folder is ours");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let created = folder.path().join("tapfan");
        let output = process::Command::new("sh")
            .args(["-c", "umask 077 && exec \"$0\" --exact \"$1\""])
            .arg(env::current_exe().expect("this program"))
            .arg(NAME)
            .env(FOLDER, &created)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let about = fs::metadata(&created).expect("a folder");
        assert_eq!(about.permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn the_commands_for_apparmor_name_the_sockets_of_the_tapfile() {
        let mut machine = Machine::look();
        machine.runtime = "/run".into();
        machine.servers = [Server::Bind, Server::Unbound, Server::Knot]
            .map(|server| machine::Found {
                server,
                group: None,
                may_enter: true,
            })
            .into();
        let draft = Draft::new(&machine);
        let text = next_steps(Path::new("Tapfile"), &draft);
        for (socket, profile) in [("bind", "usr.sbin.named"), ("unbound", "usr.sbin.unbound")] {
            let socket = format!("/run/tapfan/{socket}.sock");
            let rule = format!("\necho \"{socket} rw,\" >> /etc/apparmor.d/local/{profile}\n");
            assert!(text.contains(&rule), "{text}");
            assert!(draft.text.contains(&format!("listen unix://{socket}")));
        }
        assert_eq!(text.matches("apparmor_parser").count(), 2, "{text}");
    }

    #[test]
    fn the_next_steps_name_the_file_and_the_socket() {
        let mut machine = Machine::look();
        machine.servers = vec![machine::Found {
            server: Server::Knot,
            group: None,
            may_enter: false,
        }];
        machine.runtime = "/run".into();
        let text = next_steps(Path::new("edge"), &Draft::new(&machine));
        for part in [
            "tapfan run edge\n",
            "tapfan dump -u /run/tapfan/dump.sock ",
            "\nKnot DNS cannot connect to a socket in /run/tapfan; for that, run ",
            "sink: unix:/run/tapfan/dnstap.sock",
            "in the package `knot-module-dnstap`.\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
