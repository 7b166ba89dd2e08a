verdict-accepted = accepted
verdict-accepted-with-warnings = accepted with warnings
verdict-refused = refused
