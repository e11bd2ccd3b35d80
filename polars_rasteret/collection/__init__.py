"""How is a table of records stored, opened, asked and changed, and what does a killed writer leave behind?

`storage` holds the files of a collection, `reading` opens them, `queries` asks about records and filters them, `writing` writes
and changes them. This page is the protocol on a local disk; `writing.publishing` takes its steps. A collection is a folder of
parts, or one file::

    NAME/                           NAME.parquet                      the records
      part-*.parquet                                                  a part, perhaps in folders ``key=value``
      _parts.parquet                                                  the manifest: no rows, facts of parts (`parts_manifest`)
      _overwrite.json                                                 the journal: files that are not parts (`journal`)
      _build.json                   .NAME.parquet.building/           what a build found when it began (`ingest.lease`)
      _writer.lock                  .NAME.parquet.lock                locked by the one writer (`writer_lock`)
      .TOKEN.writing/               .NAME.parquet.TOKEN.writing/      a stage: files of a writer to be (`staging`)

Parts
    A part appears whole, never changes, and its name is never used again.
Readers
    A reader takes no lock. It reads the Parquet files whose names do not begin with ``.`` or ``_``, without the files that the
    journal names. It lists the folder twice, so that it sees the collection before a change or after it (`parts`).
Manifest
    A folder of eight parts or more has a manifest, beside its first part: size, columns, and ranges of boxes and times of each
    part that this package wrote. It is a hint, by which a query opens only the parts that it needs. Which parts there are, the
    listing alone decides; a part that the manifest does not know by name and size is opened. Writers bring it up to date last.
    When that fails, or the manifest is missing, stale or damaged, queries take longer, and nothing else.
Writers
    Every writer takes the lock, waits ``wait_s`` for it, and raises when it cannot have it; without locks nothing is changed.
    An append writes its parts to its stage first, and holds the lock while they take their place. `compact`, `remove`, `refresh`,
    an append to one file, and a build hold the lock from their first listing to their end. They work on the parts of that
    listing. A writer begins by deleting the files that the journal names, then the journal, then stages whose writer is dead.
A change
    A change of one new part, and none that goes, is one rename. Any other change has four steps. The journal names the new parts;
    they take their places, which no reader sees; the journal names the old parts instead, in one rename, by which the change is
    done; the old parts are deleted, then the journal. A collection that is one file is replaced by a rename.
A build into one file
    The build grows as a collection of its own in the folder ``.building``. The lease names the file that the build began with;
    when that file has changed, the parts are dropped. The lease is deleted before the parts are.
Loss of power
    Files, and the folders that name them, reach the disk itself before the next step relies on them.

A writer may be killed before any of its steps. No row is lost, and none is there twice, whichever step it was::

    step              what a kill just before it leaves; the next writer mends it
    ----------------  ------------------------------------------------------------------------------
    make folder       nothing, or an empty folder, which is no collection
    make stage        nothing
    write stage lock  an empty stage, which the next writer deletes
    write draft       a stage, which the next writer deletes
    write lock        a stage; a lock file that nobody holds is free
    place journal     the old parts; after the first rename the journal names the new ones, which are deleted
    place part        the old parts; new ones that took their place are named by the journal, and are deleted
    delete part       the new parts; the journal names the old ones, which are deleted
    delete journal    the new parts, or (where none went) the old ones: the journal decides
    place manifest    what was decided, and the manifest of before
    delete manifest   what was decided, and the manifest of before
    place lease       parts of before; the build begins again
    delete lease      all parts; the build called again finds nothing to do, or looks at every file again
    clear stage       what was decided, and a stage
    drop stage        what was decided, and an empty stage
    delete lock       what was decided, and a lock file that nobody holds
    drop folder       what was decided, and an empty folder

A plan that was made before a change names the parts of that time. It reads all of them, or fails as a whole with the name of the
part that is gone: scan again. Old parts are deleted at once, because other programs take every Parquet file in a folder for a
part. On Windows a part that is open cannot be deleted; then the journal keeps its name, and the next writer tries again. A
collection of one file that is open there cannot be replaced, which is a FetchError.

An object store has no locks. One object is replaced by a conditional PUT, so an append happens or is tried again. A part in a
folder is one PUT, so appends beside each other are safe, and a manifest is replaced by a conditional PUT. An append of several
parts, an overwrite, `compact`, `remove` and `refresh` take several steps, so let each of them have the folder for itself. Use a
table format for tables that many writers change at once.

The folder may be a stranger's. Journal and lease are believed only when they name plain parts inside the folder
(`untrusted_files`). No link is followed on the way to a file that is deleted or replaced, and locks and stages are not opened
through links.
"""
