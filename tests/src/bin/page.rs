//! Follows pages of the documentation as their readers do, each in a folder of its own in which this
//! repository is `zt`, and fails where a command prints something else than the page says.

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    let pages: Vec<_> = std::env::args().skip(1).collect();
    if pages.is_empty() {
        eprintln!("usage: page PAGE.md...");
        return std::process::ExitCode::from(2);
    }
    for page in pages {
        match unix::follow(std::path::Path::new(&page)) {
            Ok(steps) => println!("{page}: {steps} steps, each as the page says"),
            Err(error) => {
                eprintln!("{page}: {error}");
                return std::process::ExitCode::FAILURE;
            }
        }
    }
    std::process::ExitCode::SUCCESS
}

#[cfg(not(unix))]
fn main() {
    eprintln!("the pages are followed with a shell of Unix");
}

#[cfg(unix)]
mod unix {
    use std::error::Error;
    use std::fs;
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::path::{Path, PathBuf};

    use zt_tests::page;
    use zt_tests::reader::Reader;

    pub fn follow(page: &Path) -> Result<usize, Box<dyn Error>> {
        let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
        let steps = page::parse(&fs::read_to_string(page)?)?;
        let name = page.file_stem().ok_or("a page has a name")?.to_string_lossy();
        let folder = folder(&name, &root)?;
        std::os::unix::fs::symlink(&root, folder.join("zt"))?;
        let built = root.join("target/pages").display().to_string();
        let mut reader = Reader::new(&folder, &[("CARGO_TARGET_DIR", &*built)])?
            .with_lock_file(&root.join("Cargo.lock"));
        for step in &steps {
            reader.follow(step)?;
        }
        Ok(steps.len())
    }

    /// An empty folder outside of the repository, whose workspace it would be part of else. It is the
    /// same one each time, so that what was built is not built again.
    fn folder(name: &str, root: &Path) -> Result<PathBuf, Box<dyn Error>> {
        let mut hasher = DefaultHasher::new();
        root.hash(&mut hasher);
        let folder = std::env::temp_dir().join(format!("zt-page-{name}-{:x}", hasher.finish()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        Ok(folder)
    }
}
