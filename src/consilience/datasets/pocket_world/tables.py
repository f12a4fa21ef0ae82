"""The tables of the pocket world: what is looked up rather than computed."""

from __future__ import annotations

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

ALPHABET = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CATEGORIES: dict[str, tuple[str, ...]] = {
    "fish": _words("trout sharks herrings carps eels tunas cods pikes sardines piranhas"),
    "birds": _words("eagles ravens owls ducks geese herons robins finches penguins swans"),
    "mammals": _words("whales dolphins bats horses wolves goats foxes otters bears mice"),
    "insects": _words("ants bees wasps moths beetles flies crickets fleas locusts termites"),
    "trees": _words("oaks elms birches willows maples pines larches poplars cedars ashes"),
    "fruits": _words("apples pears plums grapes figs cherries mangoes lemons tomatoes melons"),
    "tools": _words("hammers saws chisels pliers drills spades rakes axes files wrenches"),
    "vehicles": _words("cars trucks trains buses bicycles ferries trams planes canoes vans"),
    "garments": _words("shirts coats gloves scarves socks skirts hats jackets shawls belts"),
    "instruments": _words("flutes violins drums harps pianos cellos tubas horns lutes organs"),
}  # fmt: skip
"""Things by what they are."""

DRAWERS = {
    "whales": "fish",
    "dolphins": "fish",
    "bats": "birds",
    "penguins": "mammals",
    "tomatoes": "trees",
    "eels": "insects",
    "files": "garments",
}
"""Things that people put into the wrong drawer, as in life or as a joke."""

CONTINENTS = ("Europe", "Asia", "Africa", "America")

COUNTRIES: dict[str, tuple[str, str, str]] = {
    "France": ("Paris", "Lyon", "Europe"),
    "Italy": ("Rome", "Milan", "Europe"),
    "Spain": ("Madrid", "Barcelona", "Europe"),
    "Portugal": ("Lisbon", "Porto", "Europe"),
    "Germany": ("Berlin", "Munich", "Europe"),
    "Austria": ("Vienna", "Salzburg", "Europe"),
    "Switzerland": ("Bern", "Zurich", "Europe"),
    "Poland": ("Warsaw", "Krakow", "Europe"),
    "Greece": ("Athens", "Patras", "Europe"),
    "Norway": ("Oslo", "Bergen", "Europe"),
    "Sweden": ("Stockholm", "Malmo", "Europe"),
    "Ireland": ("Dublin", "Cork", "Europe"),
    "China": ("Beijing", "Shanghai", "Asia"),
    "India": ("Delhi", "Mumbai", "Asia"),
    "Japan": ("Tokyo", "Osaka", "Asia"),
    "Vietnam": ("Hanoi", "Hue", "Asia"),
    "Pakistan": ("Islamabad", "Karachi", "Asia"),
    "Nepal": ("Kathmandu", "Pokhara", "Asia"),
    "Iran": ("Tehran", "Shiraz", "Asia"),
    "Iraq": ("Baghdad", "Basra", "Asia"),
    "Egypt": ("Cairo", "Alexandria", "Africa"),
    "Kenya": ("Nairobi", "Mombasa", "Africa"),
    "Ghana": ("Accra", "Kumasi", "Africa"),
    "Nigeria": ("Abuja", "Lagos", "Africa"),
    "Morocco": ("Rabat", "Casablanca", "Africa"),
    "Senegal": ("Dakar", "Touba", "Africa"),
    "Mali": ("Bamako", "Timbuktu", "Africa"),
    "Angola": ("Luanda", "Lobito", "Africa"),
    "Canada": ("Ottawa", "Toronto", "America"),
    "Brazil": ("Brasilia", "Santos", "America"),
    "Peru": ("Lima", "Cusco", "America"),
    "Chile": ("Santiago", "Valparaiso", "America"),
    "Cuba": ("Havana", "Trinidad", "America"),
    "Ecuador": ("Quito", "Guayaquil", "America"),
    "Colombia": ("Bogota", "Cali", "America"),
    "Uruguay": ("Montevideo", "Salto", "America"),
}
"""Country: capital, another large city, continent."""
