"""The result: rows of figures, one per measurement and round, as text and as JSON."""

import json
import statistics


def number(value):
    """Four digits are enough."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return "{:,.0f}".format(value)
    return "%.*f" % (0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3, value)


class Row:
    """`values` holds one figure per round.  `against` is the row this one is divided by, round by
    round: rounds that lie together in time are compared, so that a noisy neighbour cancels out."""

    def __init__(self, name, unit, values, against=None):
        self.name, self.unit, self.values, self.against = name, unit, values, against
        self.median = statistics.median(values)

    @property
    def ratio(self):
        if self.against is None:
            return None
        return statistics.median(a / b for a, b in zip(self.values, self.against.values) if b)


class Table:
    def __init__(self, out):
        self.out = out
        self.sections = []

    def section(self, title, rows, note=""):
        """Adds a section and prints it at once."""
        self.sections.append((title, rows, note))
        width = max([len(row.name) for row in rows] + [24])
        print("\n%s" % title, file=self.out)
        for row in rows:
            spread = "%s .. %s" % (number(min(row.values)), number(max(row.values)))
            against = "  %s x %s" % (number(row.ratio), row.against.name) if row.against else ""
            print("  %-*s %12s %-14s %-22s%s" % (
                width, row.name, number(row.median), row.unit,
                spread if len(row.values) > 1 else "", against), file=self.out)
        for line in note.splitlines():
            print("  # " + line, file=self.out)
        self.out.flush()

    def write_json(self, path, machine):
        sections = []
        for title, rows, note in self.sections:
            sections.append({"title": title, "note": note, "rows": [
                {"name": row.name, "unit": row.unit, "values": row.values, "median": row.median,
                 "ratio": row.ratio, "against": row.against and row.against.name}
                for row in rows]})
        with open(path, "w") as file:
            json.dump({"machine": machine, "sections": sections}, file, indent=1)
            file.write("\n")
