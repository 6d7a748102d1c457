//! Copies the seeds to where libFuzzer reads them, components made binary: `seeds FROM TO`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("seeds FROM TO".into());
    };
    for folder in fs::read_dir(from)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        let made = to.join(folder.file_name());
        fs::create_dir_all(&made)?;
        for seed in fs::read_dir(folder.path())? {
            let seed = seed?.path();
            let bytes = match seed.extension() {
                Some(extension) if extension == "wat" => wat::parse_file(&seed)?,
                _ => fs::read(&seed)?,
            };
            fs::write(made.join(seed.file_stem().ok_or("a seed has a name")?), bytes)?;
        }
    }
    Ok(())
}
