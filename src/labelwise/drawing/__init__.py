"""Pictures with labels drawn over them, for galleries, reports and pages."""
