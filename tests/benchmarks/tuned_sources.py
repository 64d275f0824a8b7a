"""How the step sizes in use were chosen, as the comments of the tables say."""

import re

COMMENT = re.compile(r" +# (.*)")
ENTRY = re.compile(r"( *)(<<|\w+):.*")


def sources(conf):
    """The comment above each row of ``conf/tuned``, by ``TABLE_MODEL_OPTIMIZER``."""
    found = {}
    for path in sorted((conf / "tuned").glob("*.yaml")):
        keys, comment = ["", "", ""], ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if said := COMMENT.fullmatch(line):
                comment = said.group(1)
            elif entry := ENTRY.fullmatch(line):
                depth = len(entry.group(1)) // 2
                keys[depth], comment = entry.group(2), comment if depth == 2 else ""
                if depth == 2:
                    table, optimizer, model = keys
                    found[f"{table}_{model}_{optimizer}"] = comment
    return found
