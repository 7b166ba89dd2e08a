//! Uploads whose files have fewer bytes than their clients were told.

use std::path::Path;
use std::{fs, io};

use super::orphans::PAUSE;
use super::{Kind, Problem, Repair, Run};
use crate::db::{self, from_sql_size, fsck, image, upload};

/// Told to clients.
const REASON: &str = "bytes of the upload were lost; send the file again";

impl Run<'_> {
    /// Compares the files of uploads with what was acknowledged.
    pub(super) async fn uploads(&mut self) -> anyhow::Result<()> {
        let directory = self.operator.uploads();
        let rows = fsck::uploads(self.operator.db.read()).await?;
        let short = |id: &str, received| {
            let length = length(&directory.join(id));
            length.map(|length| length < from_sql_size(received))
        };
        let mut suspects = Vec::new();
        for (id, received) in rows {
            if short(&id, received)? {
                suspects.push(id);
            }
        }
        if !suspects.is_empty() {
            // One that begins anew, or ends, is cut or removed before or after its row.
            tokio::time::sleep(PAUSE).await;
        }
        for id in suspects {
            let mut tx = self.operator.db.write().await?;
            let Some(received) = fsck::acknowledged(&mut tx, &id).await? else {
                continue;
            };
            if !short(&id, received)? {
                continue;
            }
            let path = directory.join(&id);
            let mut problem = Problem::new(Kind::ShortUpload, None, path.display().to_string());
            let found = length(&path)?;
            problem.bytes = Some(found);
            problem.detail = format!("{received} bytes were acknowledged, {found} are there");
            problem.outcome = "a repair fails it, so that it is sent again".into();
            let image = image::by_upload(&mut tx, &id).await?.map(|image| image.id);
            problem.images.extend(image);
            let repair = match self.options.repair {
                true => Some(fail(tx, &id, image, &path).await),
                false => None,
            };
            self.found(problem, repair);
        }
        Ok(())
    }
}

async fn fail(mut tx: db::Tx, id: &str, image: Option<i64>, path: &Path) -> anyhow::Result<Repair> {
    upload::fail(&mut tx, id, REASON).await?;
    if let Some(image) = image {
        image::give_up(&mut tx, image, REASON).await?;
    }
    tx.commit().await?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(Repair::Done("it failed, so that it is sent again".into()))
}

fn length(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
