"""What a measurement gets: how thorough to be, rounds that interleave, and where the rows go."""

from table import Row


class Bench:
    def __init__(self, table, short, rounds):
        self.table, self.short, self.rounds = table, short, rounds

    def scale(self, full, short):
        return short if self.short else full

    def interleave(self, cases, rounds=None):
        """Runs every case once per round, one after the other, so that what disturbs the machine
        for a while disturbs them all.  `cases` is {name: function returning {metric: figure}};
        returns {name: {metric: [figure per round]}}."""
        results = {name: {} for name in cases}
        for _ in range(rounds or self.rounds):
            for name, case in cases.items():
                for metric, figure in case().items():
                    results[name].setdefault(metric, []).append(figure)
        return results

    @staticmethod
    def rows(results, metric, unit, against=None):
        """A Row for each case that has the metric; the others are compared to case `against`."""
        made = {name: Row(name, unit, metrics[metric]) for name, metrics in results.items()
                if metric in metrics}
        for name, row in made.items():
            if against in made and name != against:
                row.against = made[against]
        return list(made.values())
