verdict-accepted = angenommen
verdict-accepted-with-warnings = mit Warnungen angenommen
verdict-refused = abgelehnt
